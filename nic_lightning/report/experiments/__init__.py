"""What the scripts in experiments/ gather."""
