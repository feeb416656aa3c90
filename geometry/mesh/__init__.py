"""Triangle meshes: the values, rasterizing (hard and soft), fusion, simplifying, textures."""

from geometry.mesh.meshes import Mesh, TexturedMesh, largest_components, surface_points, vertex_normals
from geometry.mesh.rasterizing import Raster, interpolate, rasterize, render_mesh, shade
from geometry.mesh.simplifying import simplify
from geometry.mesh.soft_rasterizing import soft_render_mesh, soft_silhouette
from geometry.mesh.texturing import bake, render_textured, unwrap
from geometry.mesh.tsdf import fuse_tsdf

__all__ = [
    "Mesh",
    "Raster",
    "TexturedMesh",
    "bake",
    "fuse_tsdf",
    "interpolate",
    "largest_components",
    "rasterize",
    "render_mesh",
    "render_textured",
    "shade",
    "simplify",
    "soft_render_mesh",
    "soft_silhouette",
    "surface_points",
    "unwrap",
    "vertex_normals",
]
