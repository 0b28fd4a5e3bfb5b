"""Models: what their cards say, and running them."""
