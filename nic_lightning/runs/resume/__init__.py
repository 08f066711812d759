"""Whether a folder may be used, and going on in it."""
