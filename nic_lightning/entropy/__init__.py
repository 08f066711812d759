"""Entropy models and the range coder: the one place that touches CompressAI."""
