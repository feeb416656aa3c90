"""Cameras, their lenses and rays, and the conventions of other tools."""
