"""Point clouds, and meshes that they are sampled from."""
