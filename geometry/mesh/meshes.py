"""Triangle meshes as values, plain and textured, and what follows from their triangles alone."""

from dataclasses import dataclass, replace

import torch

from geometry.errors import InputError
from geometry.shapes import Float, Int
from geometry.similarity import Similarity
from geometry.values import as_value


@as_value
@dataclass(frozen=True)
class Mesh:
    """Triangles in the world, counter-clockwise seen from outside.

    Attributes:
        vertices: [v, 3] metres.
        faces: [t, 3] indices of vertices.
        colors: [v, 3] sRGB in 0..1, or None.

    Raises:
        InputError: shapes disagree, or faces name vertices that do not exist.
    """

    vertices: Float[torch.Tensor, "v 3"]
    faces: Int[torch.Tensor, "t 3"]
    colors: Float[torch.Tensor, "v 3"] | None = None

    def __post_init__(self) -> None:
        colors = self.vertices if self.colors is None else self.colors
        shapes = (tuple(self.vertices.shape), tuple(self.faces.shape), tuple(colors.shape))
        if any(len(shape) != 2 or shape[1] != 3 for shape in shapes) or shapes[0] != shapes[2]:
            raise InputError(
                f"mesh: vertices {shapes[0]}, faces {shapes[1]}, colors {shapes[2]}; expected [v, 3], [t, 3], [v, 3]"
            )
        if self.faces.numel() and not 0 <= int(self.faces.min()) <= int(self.faces.max()) < len(self.vertices):
            raise InputError(
                f"mesh: faces use vertices {int(self.faces.min())} to {int(self.faces.max())}; "
                f"expected 0 to {len(self.vertices) - 1}"
            )

    def transformed(self, new_from_old: Similarity) -> "Mesh":
        """The mesh in the new world."""
        return replace(self, vertices=new_from_old.points(self.vertices))

    def with_float64_positions(self) -> "Mesh":
        """The same mesh with its vertices in float64."""
        return replace(self, vertices=self.vertices.double())


@as_value
@dataclass(frozen=True)
class TexturedMesh:
    """A mesh whose colors are in an image; colors of its vertices do not count.

    Positions in the texture are (u, v) in 0..1 from its upper left corner, u to the right and v down, so that texel
    (row, column) has its center at ((column + 0.5) / width, (row + 0.5) / height), as in our images and in glTF.

    Attributes:
        mesh: each vertex is there once for every position it has in the texture: twice and more along seams.
        uv: [v, 2] positions in the texture.
        texture: [3, h, w] sRGB in 0..1.

    Raises:
        InputError: shapes disagree, or positions are outside the texture.
    """

    mesh: Mesh
    uv: Float[torch.Tensor, "v 2"]
    texture: Float[torch.Tensor, "3 h w"]

    def __post_init__(self) -> None:
        uv, texture = tuple(self.uv.shape), tuple(self.texture.shape)
        if uv != (len(self.mesh.vertices), 2) or len(texture) != 3 or texture[0] != 3 or min(texture) < 1:
            raise InputError(
                f"textured mesh: {len(self.mesh.vertices)} vertices, uv {uv}, texture {texture}; "
                "expected [v, 3], [v, 2] and [3, h, w]"
            )
        if not bool(((self.uv >= 0) & (self.uv <= 1)).all()):
            raise InputError("textured mesh: positions outside the texture or NaN; expected u and v in 0..1")

    def transformed(self, new_from_old: Similarity) -> "TexturedMesh":
        """The textured mesh in the new world."""
        return replace(self, mesh=self.mesh.transformed(new_from_old))

    def with_float64_positions(self) -> "TexturedMesh":
        """The same textured mesh with its vertices in float64."""
        return replace(self, mesh=self.mesh.with_float64_positions())


def vertex_normals(mesh: Mesh) -> Float[torch.Tensor, "v 3"]:
    """Normals at the vertices: the mean of the faces around each one, weighted by area.

    Args:
        mesh: v vertices.

    Returns:
        Unit vectors that point outward; (0, 0, 1) at vertices without a face of positive area.
    """
    a, b, c = mesh.vertices.double()[mesh.faces].unbind(1)
    twice_area = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(mesh.vertices, dtype=torch.float64)
    normals = normals.index_add(0, mesh.faces.flatten(), twice_area.repeat_interleave(3, 0))
    length = normals.norm(dim=-1, keepdim=True)
    up = normals.new_tensor([0.0, 0.0, 1.0]).expand_as(normals)
    return torch.where(length > 0, normals / length.clamp_min(1e-300), up).to(mesh.vertices.dtype)


def components(mesh: Mesh) -> Int[torch.Tensor, "v"]:
    """For every vertex the lowest index of a vertex it is connected to by edges: one label per connected component.

    Each label moves to its neighbors' minimum, then jumps to its own label's label, until nothing changes.
    """
    start = mesh.faces.flatten()
    end = mesh.faces.roll(1, 1).flatten()  # once around each triangle, so that labels pass between any two corners
    label = torch.arange(len(mesh.vertices), device=mesh.faces.device)
    while True:
        lower = label.scatter_reduce(0, start, label[end], "amin")
        lower = lower[lower]
        if torch.equal(lower, label):
            return label
        label = lower


def largest_components(mesh: Mesh, min_fraction: float = 0.05) -> Mesh:
    """Remove small floating pieces of a mesh, and vertices that no face uses.

    Args:
        mesh: any mesh.
        min_fraction: components with at least this share of the largest one's number of faces are kept; 1 keeps the
            largest.

    Returns:
        The mesh of the components that are kept.
    """
    if not len(mesh.faces):
        return Mesh(mesh.vertices[:0], mesh.faces, None if mesh.colors is None else mesh.colors[:0])
    piece = components(mesh)[mesh.faces[:, 0]]
    size = torch.bincount(piece, minlength=len(mesh.vertices))
    faces = mesh.faces[size[piece] >= min_fraction * int(size.max())]
    used, faces = faces.unique(return_inverse=True)
    return Mesh(mesh.vertices[used], faces, None if mesh.colors is None else mesh.colors[used])


def surface_points(mesh: Mesh, count: int, seed: int = 0) -> Float[torch.Tensor, "count 3"]:
    """Draw points uniformly from the surface of a mesh: a face by its area, then a point in it.

    Args:
        mesh: a mesh of positive area.
        count: number of points.
        seed: of the random numbers.

    Returns:
        Points in the world, metres, float64.

    Raises:
        InputError: a mesh without area.
    """
    a, b, c = mesh.vertices.double()[mesh.faces].unbind(1)
    area = torch.linalg.cross(b - a, c - a).norm(dim=-1).cumsum(0)
    if not len(area) or not float(area[-1]) > 0:
        raise InputError(f"points on a mesh of {len(area)} faces; expected a surface of positive area")
    u, v, w = torch.rand(3, count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    face = torch.searchsorted(area, w * area[-1], right=True).clamp_max(len(area) - 1)
    fold = u + v > 1
    u, v = torch.where(fold, 1 - u, u)[:, None], torch.where(fold, 1 - v, v)[:, None]
    return a[face] + u * (b - a)[face] + v * (c - a)[face]
