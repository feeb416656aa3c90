"""Readers and writers of camera paths."""
