"""Matching with torch on a GPU, or any device of torch's, with the integers of the numba code."""
