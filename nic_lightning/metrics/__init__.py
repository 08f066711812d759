"""Fidelity, rate, BD-rate, and the evaluation that fills the results table."""
