"""Textures that repeat and textures side by side: every point of the surface keeps its color."""

import pytest
import torch

from geometry.errors import InputError, Note
from geometry.mesh.atlas import Wrap, merged, wrapped
from geometry.mesh.meshes import Mesh, TexturedMesh


def texel(side: int, position: torch.Tensor, wrap: Wrap) -> torch.Tensor:
    """The texel at positions in units of the texture, by the definition of each mode."""
    index = (position * side).floor().long()
    match wrap:
        case "repeat":
            return index % side
        case "clamp":
            return index.clamp(0, side - 1)
        case "mirror":
            return torch.where((position.floor().long() % 2) == 0, index % side, side - 1 - index % side)


def inside(faces: int) -> torch.Tensor:
    """Barycentric weights [f, 20, 3] of points in triangles."""
    weights = torch.rand(faces, 20, 3, dtype=torch.float64)
    return weights / weights.sum(-1, keepdim=True)


def colors_at(textured: TexturedMesh, weights: torch.Tensor) -> torch.Tensor:
    """The texels [f, 20, 3] at points in triangles."""
    uv = (weights[..., None] * textured.uv.double()[textured.mesh.faces][:, None]).sum(2)
    height, width = textured.texture.shape[-2:]
    rows, columns = texel(height, uv[..., 1], "clamp"), texel(width, uv[..., 0], "clamp")
    return textured.texture[:, rows, columns].movedim(0, -1)


def soup(faces: int, low: float, high: float, size: float) -> tuple[Mesh, torch.Tensor]:
    """Triangles that share no vertex, of positions from low to high in a texture, each up to `size` wide."""
    start = low + (high - low - size) * torch.rand(faces, 1, 2)
    uv = (start + size * torch.rand(faces, 3, 2)).reshape(-1, 2)
    return Mesh(torch.rand(3 * faces, 3), torch.arange(3 * faces).view(-1, 3)), uv


@pytest.mark.parametrize("u", ["repeat", "mirror", "clamp"])
@pytest.mark.parametrize("v", ["repeat", "mirror", "clamp"])
@pytest.mark.parametrize("size", [0.2, 2.5])
def test_positions_beyond_a_texture_show_what_its_wrap_says(u: Wrap, v: Wrap, size: float) -> None:
    mesh, uv = soup(30, -3.5, 4.5, size)
    texture = torch.rand(3, 8, 16)
    found = wrapped(mesh, uv, texture, (u, v))
    assert torch.equal(found.mesh.vertices[found.mesh.faces], mesh.vertices[mesh.faces])
    weights = inside(30)
    at = (weights[..., None] * uv.double()[mesh.faces][:, None]).sum(2)
    expected = texture[:, texel(8, at[..., 1], v), texel(16, at[..., 0], u)].movedim(0, -1)
    same = (colors_at(found, weights) == expected).all(-1)
    assert float(same.double().mean()) > 0.999  # but for points on a texel's edge


def test_positions_in_the_texture_stay_as_they_are() -> None:
    mesh, uv = soup(5, 0, 1, 0.5)
    texture = torch.rand(3, 4, 4)
    found = wrapped(mesh, uv, texture)
    assert found.mesh is mesh and found.texture is texture and torch.equal(found.uv, uv)


def test_whole_textures_away_need_no_larger_one_and_seams_are_split() -> None:
    """A square from (0, 0) to (1, 1) beside one from (1, 0) to (2, 1): the vertices between are in both places."""
    uv = torch.tensor([[x, y] for y in (0.0, 1.0) for x in (0.0, 1.0, 2.0)])
    faces = torch.tensor([[0, 1, 4], [0, 4, 3], [1, 2, 5], [1, 5, 4]])
    found = wrapped(Mesh(torch.rand(6, 3), faces, torch.rand(6, 3)), uv, torch.rand(3, 4, 4))
    assert found.texture.shape == (3, 4, 4) and len(found.mesh.vertices) == 8
    corners = found.uv[found.mesh.faces]
    assert torch.equal(corners[:2], corners[2:]) and float(corners.max()) == 1


def test_what_repeats_too_often_loses_texels_and_says_so() -> None:
    mesh = Mesh(torch.rand(3, 3), torch.tensor([[0, 1, 2]]))
    uv = torch.tensor([[0.0, 0], [100, 0], [0, 1]])
    with pytest.warns(Note, match="100 x 1 times"):
        found = wrapped(mesh, uv, torch.full((3, 256, 256), 0.25))
    assert found.texture.shape == (3, 81, 8100) and bool((found.texture == 0.25).all())
    with pytest.raises(InputError, match="expected"):
        wrapped(mesh, 100 * uv, torch.rand(3, 256, 256))
    for bad in (torch.nan, torch.inf, 1e30):
        with pytest.raises(InputError, match="expected less"):
            wrapped(mesh, torch.full((3, 2), bad), torch.rand(3, 4, 4))


def some_parts(sizes: list[tuple[int, int]]) -> list[TexturedMesh]:
    parts = []
    for height, width in sizes:
        mesh, uv = soup(6, 0, 1, 0.9)
        parts.append(TexturedMesh(mesh, uv, torch.rand(3, height, width)))
    return parts


def test_an_atlas_shows_each_part_as_its_own_texture_did() -> None:
    parts = some_parts([(8, 16), (16, 8), (1, 1), (5, 33), (16, 16)])
    parts.append(TexturedMesh(*(getattr(parts[0], name) for name in ("mesh", "uv", "texture"))))
    found = merged(parts)
    assert found.texture.shape[-1] * found.texture.shape[-2] < 2.5 * sum(p.texture[0].numel() + 80 for p in parts[:-1])
    weights = inside(6)
    for n, part in enumerate(parts):
        faces = found.mesh.faces[6 * n : 6 * n + 6]
        assert torch.equal(found.mesh.vertices[faces], part.mesh.vertices[part.mesh.faces])
        shown = colors_at(TexturedMesh(Mesh(found.mesh.vertices, faces), found.uv, found.texture), weights)
        assert float((shown == colors_at(part, weights)).all(-1).double().mean()) > 0.99


def test_nothing_of_a_neighbor_bleeds_over_the_edge_of_a_texture() -> None:
    """Corners at the very edge of a white texture between black ones stay white when looked up bilinearly."""
    square = Mesh(torch.rand(4, 3), torch.tensor([[0, 1, 2], [0, 2, 3]]))
    uv = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    textures = [torch.full((3, 8, 8), float(n == 4)) for n in range(9)]
    found = merged([TexturedMesh(square, uv, texture) for texture in textures])
    from geometry.image.sampling import sample_across

    seen = sample_across(found.texture, 2 * found.uv[16:20] - 1)
    assert torch.equal(seen, torch.ones(3, 4))


def test_too_much_for_one_atlas_is_made_smaller_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geometry.mesh.atlas._MAX_SIDE", 64)
    parts = some_parts([(40, 40)] * 6)
    with pytest.warns(Note, match="among 6 in one"):
        found = merged(parts)
    assert max(found.texture.shape) <= 64 and len(found.mesh.faces) == 36
    with pytest.raises(InputError, match="at least one"):
        merged([])
