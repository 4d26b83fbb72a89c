"""Programs that train, and those that compare with other ways to as little work."""
