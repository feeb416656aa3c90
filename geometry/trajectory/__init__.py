"""Where cameras go: moves and shots, paths, checks, and errors against a true path."""
