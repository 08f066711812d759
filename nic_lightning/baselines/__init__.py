"""Classic codecs behind the same protocol as the learned ones."""
