"""What a run's config says, and whether it can be."""
