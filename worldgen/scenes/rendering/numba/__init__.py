"""The renderer for a CPU, compiled by numba: the same images as the torch reference, several times faster."""
