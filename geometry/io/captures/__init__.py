"""Readers and writers of posed captures."""
