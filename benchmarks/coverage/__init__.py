"""Programs that try every network of a zoo."""
