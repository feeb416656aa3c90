"""Rigid bodies under gravity."""
