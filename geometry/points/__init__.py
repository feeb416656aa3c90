"""Point clouds: made from depth, fused, compared."""
