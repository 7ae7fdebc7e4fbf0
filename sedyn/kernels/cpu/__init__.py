"""Kernels that numba compiles for a processor."""
