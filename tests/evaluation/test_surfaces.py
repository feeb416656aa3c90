"""Distances between surfaces."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from geometry.errors import InputError
from geometry.meshes import Mesh
from worldgen.evaluation.surfaces import chamfer, nearest_distance, surface_points


def test_chamfer_is_scipys_of_the_reference_data(shared: Path) -> None:
    golden = load_file(shared / "golden" / "metrics_chamfer.safetensors")
    for i in range(2):  # theirs is the sum of both directions
        theirs = float(golden["scipy_euclidean_per_batch"][i])
        assert 2 * chamfer(golden["x"][i], golden["y"][i]) == pytest.approx(theirs)
    assert torch.allclose(nearest_distance(golden["x"][0], golden["y"][0]) ** 2, golden["nn_sqdist_x_to_y"][0].double())


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
    assert math.isclose(chamfer(points, points + torch.tensor([0, 0, 0.0])), 0)
