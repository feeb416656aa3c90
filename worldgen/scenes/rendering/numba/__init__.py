"""The renderer for a CPU, compiled by numba."""
