"""nic_lightning: train, measure and compare learned codecs."""

__version__ = "0.1.0"
