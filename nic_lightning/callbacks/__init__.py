"""What happens around training: checkpoints, curves, pictures, progress."""
