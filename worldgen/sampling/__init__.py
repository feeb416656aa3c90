"""Levels, solvers, guidance and the one loop that runs every mode."""
