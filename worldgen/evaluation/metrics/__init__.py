"""Figures by formula."""
