"""What is trained on and measured on: catalogue, datasets, datamodules."""
