"""One compression method a file."""
