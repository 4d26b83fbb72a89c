"""Programs that train, and comparisons with other ways to as little work."""
