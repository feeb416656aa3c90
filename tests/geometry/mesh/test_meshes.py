"""Triangle meshes."""

import pytest
import torch

from geometry.errors import InputError
from geometry.mesh.meshes import Mesh, components, largest_components, surface_points, vertex_normals


def strip(triangles: int, start: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    """A flat strip of triangles in the plane z = const, seen counter-clockwise from above."""
    x = torch.arange(triangles + 2).float()
    vertices = torch.stack([x / 2, x % 2, torch.zeros_like(x)], -1) + torch.tensor(start)
    faces = torch.stack([torch.arange(3) + i for i in range(triangles)])
    faces[1::2] = faces[1::2].flip(-1)
    return Mesh(vertices, faces.flip(-1), torch.rand(triangles + 2, 3))


def joined(parts: list[Mesh]) -> Mesh:
    offset, faces = 0, []
    for part in parts:
        faces.append(part.faces + offset)
        offset += len(part.vertices)
    colors = [part.colors for part in parts if part.colors is not None]
    return Mesh(torch.cat([part.vertices for part in parts]), torch.cat(faces), torch.cat(colors))


def test_normals_of_a_flat_strip_point_to_the_side_that_sees_it_counter_clockwise() -> None:
    assert torch.equal(vertex_normals(strip(9)), torch.tensor([0.0, 0.0, 1.0]).expand(11, 3))
    down = strip(9)
    assert torch.equal(vertex_normals(Mesh(down.vertices, down.faces.flip(-1)))[:, 2], -torch.ones(11))


def test_normals_weigh_faces_by_area() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 1]])
    normals = vertex_normals(Mesh(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]])))
    expected = torch.nn.functional.normalize(torch.tensor([3.0, 0.0, 6.0]), dim=0)
    assert torch.allclose(normals[0], expected)
    assert torch.allclose(normals[1], torch.tensor([0.0, 0.0, 1.0]))


def test_vertices_without_area_get_an_upward_unit_normal() -> None:
    normals = vertex_normals(Mesh(torch.zeros(4, 3), torch.tensor([[0, 1, 2]])))
    assert torch.equal(normals, torch.tensor([0.0, 0.0, 1.0]).expand(4, 3))


def test_components_carry_the_lowest_vertex_of_their_piece_whatever_the_order() -> None:
    mesh = joined([strip(40), strip(7), strip(1)])
    order = torch.randperm(len(mesh.vertices))
    shuffled = Mesh(mesh.vertices[order.argsort()], order[mesh.faces][torch.randperm(len(mesh.faces))])
    label = components(shuffled)[order]  # back in the order of the pieces
    pieces = label.split([42, 9, 3])
    assert [len(piece.unique()) for piece in pieces] == [1, 1, 1]
    assert [int(piece[0]) for piece in pieces] == [int(part.min()) for part in order.split([42, 9, 3])]


def test_small_pieces_and_unused_vertices_go_and_the_rest_stays_in_order() -> None:
    big, middle, small = strip(40), strip(20, (0.0, 9.0, 0.0)), strip(1, (0.0, 0.0, 9.0))
    mesh = joined([small, big, middle])
    assert mesh.colors is not None
    mesh = Mesh(torch.cat([mesh.vertices, torch.ones(1, 3)]), mesh.faces, torch.cat([mesh.colors, torch.ones(1, 3)]))
    kept, only = largest_components(mesh, 0.5), largest_components(mesh, 1.0)
    expected = joined([big, middle])
    assert torch.equal(kept.vertices, expected.vertices) and torch.equal(kept.faces, expected.faces)
    assert kept.colors is not None and expected.colors is not None and torch.equal(kept.colors, expected.colors)
    assert torch.equal(only.vertices, big.vertices) and torch.equal(only.faces, big.faces)


def test_a_mesh_without_faces_has_no_pieces() -> None:
    empty = largest_components(Mesh(torch.rand(3, 3), torch.zeros(0, 3, dtype=torch.long), torch.rand(3, 3)))
    assert empty.vertices.shape == (0, 3) and empty.colors is not None and empty.colors.shape == (0, 3)


def test_faces_that_name_missing_vertices_are_refused(refused, unchecked) -> None:
    for bad in (3, -1):
        with refused("0 to 2"):
            Mesh(torch.rand(3, 3), torch.tensor([[0, 1, bad]]))
    with refused("(2, 3)"):
        Mesh(torch.rand(3, 3), torch.tensor([[0, 1, 2]]), torch.rand(2, 3))
    with refused("(1, 4)"):
        Mesh(torch.rand(4, 3), torch.tensor([[0, 1, 2, 3]]))


def test_points_lie_on_the_faces_by_their_area() -> None:
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [3, 0, 1], [0, 1, 1]])
    points = surface_points(Mesh(corners, torch.tensor([[0, 1, 2], [3, 4, 5]])), 20000)
    high = points[:, 2] == 1
    assert bool((high | (points[:, 2] == 0)).all()) and abs(float(high.double().mean()) - 0.75) < 0.02
    low = points[~high]
    assert bool((low[:, :2] >= 0).all()) and bool((low[:, :2].sum(-1) <= 1).all())
    assert torch.allclose(low[:, :2].mean(0), torch.full((2,), 1 / 3).double(), atol=0.01)
    assert torch.allclose(low[:, :2].var(0), torch.full((2,), 1 / 18).double(), atol=0.005)
    with pytest.raises(InputError, match="positive area"):
        surface_points(Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])), 5)
