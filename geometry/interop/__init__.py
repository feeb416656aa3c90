"""Other libraries behind our signatures, each loaded only when its function is called.

open3d  truncated signed distance fusion (`geometry.tsdf` is our own)
"""
