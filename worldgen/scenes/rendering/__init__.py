"""The exact renderer: the torch reference, and the same compiled by numba."""
