"""Camera distributions for scenes."""
