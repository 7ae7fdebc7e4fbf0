"""Kernels in CUDA, compiled when they are first launched, and what launches them."""
