"""Virtual pooling together with other ways to make a network smaller or faster."""
