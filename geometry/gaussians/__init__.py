"""3D Gaussians: the value, the readable torch reference, the fast path, fitting."""
