"""Curves, what they are compared by, and tables and figures of them."""
