"""Finding runs, and reading what they wrote."""
