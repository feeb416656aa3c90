"""Triangle meshes: made from depth, simplified, textured, rasterized."""
