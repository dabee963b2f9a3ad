"""Training through a chip."""
