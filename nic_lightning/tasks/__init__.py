"""LightningModules: how a codec is trained."""
