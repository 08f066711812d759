"""Jobs of a multirun."""
