"""Rotations and rigid motions in every form, and curves through them."""
