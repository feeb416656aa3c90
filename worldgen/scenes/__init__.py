"""Procedural worlds with exact truth."""
