"""Discrete optical flow by triple image matching (thesis chapter 5): NumPy, numba and OpenCV; no training framework."""
