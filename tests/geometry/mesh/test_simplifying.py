"""Meshes of fewer triangles."""

import sys

import pytest
import torch
import trimesh

from geometry.conventions import linear_from_srgb, srgb_from_linear
from geometry.mesh.meshes import Mesh, components
from geometry.mesh.simplifying import simplify

pytest.importorskip("fast_simplification")


def ball(colors: bool = True) -> Mesh:
    """A fine sphere of radius 2 far from the origin, whose light grows with the height."""
    made = trimesh.creation.icosphere(subdivisions=5, radius=2.0)
    vertices = torch.tensor(made.vertices)
    light = (vertices[:, 2:] / 4 + 0.5).expand(-1, 3).clamp(0, 1)
    shift = torch.tensor([1e5, -3.0, 7.0], dtype=torch.float64)
    return Mesh(vertices + shift, torch.tensor(made.faces), srgb_from_linear(light) if colors else None)


def test_a_ball_stays_a_ball_with_the_colors_of_its_places() -> None:
    mesh = ball()
    small = simplify(mesh, 1000)
    assert 900 <= len(small.faces) <= 1000 and len(small.vertices) - len(small.faces) // 2 == 2
    assert len(components(small).unique()) == 1
    center = mesh.vertices.mean(0)
    assert ((small.vertices - center).norm(dim=-1) - 2).abs().max() < 0.02
    assert small.colors is not None and small.vertices.dtype == small.colors.dtype == torch.float64
    height = linear_from_srgb(small.colors)[:, 0] * 4 - 2
    assert (height - (small.vertices - center)[:, 2]).abs().mean() < 0.03
    assert abs(float((height - (small.vertices - center)[:, 2]).mean())) < 0.01  # no other vertex's colors


def test_colors_are_optional_and_a_small_mesh_stays_as_it_is() -> None:
    assert simplify(ball(False), 500).colors is None
    mesh = Mesh(torch.eye(3), torch.tensor([[0, 1, 2]]))
    assert simplify(mesh, 4) is mesh


def test_what_cannot_be_simplified_is_refused(refused, monkeypatch) -> None:
    mesh = ball()
    with refused("3 faces"):
        simplify(mesh, 3)
    with refused("NaN"):
        simplify(Mesh(mesh.vertices * torch.nan, mesh.faces), 100)
    monkeypatch.setitem(sys.modules, "fast_simplification", None)
    with refused("fast_simplification", "pip install 'worldgen[mesh]'"):
        simplify(mesh, 100)


def test_pieces_may_vanish_whole() -> None:
    tiny = trimesh.creation.icosphere(subdivisions=1, radius=0.1)
    places = torch.tensor(tiny.vertices) + torch.tensor([[[3.0 * n, 0, 0]] for n in range(9)])
    faces = torch.tensor(tiny.faces) + len(tiny.vertices) * torch.arange(9)[:, None, None]
    mesh = Mesh(places.flatten(0, 1), faces.flatten(0, 1), torch.rand(9 * len(tiny.vertices), 3))
    for most in (4, 12, 100):
        small = simplify(mesh, most)
        assert 0 < len(small.faces) < len(mesh.faces)
        assert small.colors is not None and 0 <= float(small.colors.min()) <= float(small.colors.max()) <= 1
