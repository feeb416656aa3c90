"""Similarities change worlds and come back."""

import json
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry.camera.cameras import Cameras
from geometry.camera.projection import project, unproject
from geometry.errors import InputError
from geometry.mesh.meshes import Mesh
from geometry.points.pointclouds import PointCloud
from geometry.rotation.transforms import rotation_about
from geometry.similarity import Similarity
from tests.geometry.camera.test_cameras import some_cameras

BATCHES = st.sampled_from([(), (1,), (3, 1, 2)])


def some(batch: tuple[int, ...], seed: int) -> Similarity:
    torch.manual_seed(seed)
    axis, angle = torch.randn(*batch, 3).double(), torch.randn(batch).double()
    return Similarity(10 ** torch.randn(batch).double(), rotation_about(axis, angle), torch.randn(*batch, 3).double())


@settings(max_examples=20)
@given(BATCHES, st.integers(0, 2**31))
def test_inverses_undo_and_similarities_compose(batch, seed) -> None:
    first, second = some(batch, seed), some(batch, seed + 1)
    points = torch.randn(*batch, 5, 3).double()
    there = first.points(points)
    assert torch.allclose(first.inverse().points(there), points, atol=1e-9)
    assert torch.allclose((second @ first).points(points), second.points(there), atol=1e-9, rtol=1e-9)
    around = first.inverse() @ first
    assert torch.allclose(around.rotation, torch.eye(3).double().expand_as(around.rotation), atol=1e-12)


@settings(max_examples=20)
@given(BATCHES, st.integers(0, 2**31))
def test_cameras_in_another_world_show_the_same_images(batch, seed) -> None:
    change, cameras = some(batch, seed), some_cameras((*batch, 2), (4, 6), seed)
    depth = 1 + torch.rand(*batch, 2, 1, 4, 6).double()
    moved = change.apply(cameras)
    here = unproject(cameras, depth).flatten(-4, -2)
    uv, z = project(moved, change.points(here).unflatten(-2, (2, 24)))
    wanted, _ = project(cameras, here.unflatten(-2, (2, 24)))
    assert torch.allclose(uv, wanted, atol=1e-6)
    assert torch.allclose(z, change.depth(depth.reshape(*batch, 2, 24)), rtol=1e-8)


def test_sky_and_unknown_depth_stay_what_they_are() -> None:
    change = Similarity.normalizing(torch.randn(9, 3) * 5)
    assert change.depth(torch.tensor([[0.0, torch.inf, 2.0]])).tolist()[0][:2] == [0.0, torch.inf]


def test_points_are_normalized_and_come_back_in_metres() -> None:
    points = torch.randn(50, 3).double() * 7 + torch.tensor([100.0, -3, 2])
    change = Similarity.normalizing(points)
    new = change.points(points)
    assert torch.allclose(new.mean(0), torch.zeros(3).double(), atol=1e-12)
    assert float(new.norm(dim=-1).mean()) == pytest.approx(1)
    assert torch.allclose(change.inverse().points(new), points, atol=1e-12)
    cloud = PointCloud(points.float(), torch.rand(50, 3))
    back = change.inverse().apply(change.apply(cloud))
    assert torch.allclose(back.points, cloud.points, atol=1e-4) and torch.equal(back.colors, cloud.colors)
    turned, cloud = some((), 4), PointCloud(points, torch.rand(50, 3).double())
    ahead = turned.points(points + cloud.colors) - turned.points(points)
    normals = turned.apply(replace(cloud, normals=cloud.colors)).normals
    assert normals is not None and torch.allclose(turned.scale * normals, ahead, atol=1e-6)
    mesh = Mesh(points.float(), torch.tensor([[0, 1, 2]]))
    assert torch.allclose(change.inverse().apply(change.apply(mesh)).vertices, mesh.vertices, atol=1e-4)
    with pytest.raises(InputError, match="different places"):
        Similarity.normalizing(torch.ones(4, 3))


def test_the_best_one_between_points_is_found_and_does_not_mirror() -> None:
    truth = some((2,), 5)
    points = torch.randn(2, 6, 3).double()
    found = Similarity.between(points, truth.points(points))
    for name in ("scale", "rotation", "translation"):
        assert torch.allclose(getattr(found, name), getattr(truth, name), atol=1e-9)
    mirrored = Similarity.between(points, points * torch.tensor([1.0, 1.0, -1.0]))
    assert torch.allclose(torch.linalg.det(mirrored.rotation), torch.ones(2).double())
    upright = torch.eye(3).expand(1, 4, 3, 3)
    still = Similarity.between(torch.ones(1, 4, 3), 2 * torch.ones(1, 4, 3), orientations=(upright, upright))
    assert float(still.scale) == 1 and torch.allclose(still.points(torch.ones(1, 1, 3)), torch.tensor(2.0))


LINES = {
    "two": torch.tensor([[0.0, 0, 0], [1, 2, 3]]).double(),
    "a line": torch.linspace(-2, 3, 7).double()[:, None] * torch.tensor([0.3, -1.0, 0.2]).double() + 5,
    "a line along an axis": torch.linspace(0, 1, 4).double()[:, None] * torch.tensor([0.0, 0, 1]).double(),
    "one place": torch.ones(5, 3).double(),
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("seed", range(4))
def test_turns_that_points_leave_free_come_from_orientations(refused, name: str, seed: int) -> None:
    points, truth = LINES[name], some((), seed)
    if name == "one place":
        truth = replace(truth, scale=torch.ones(()).double())
    turns = some((len(points),), seed + 9).rotation
    there = truth.rotation @ turns
    found = Similarity.between(points, truth.points(points), orientations=(turns, there))
    assert torch.allclose(found.rotation, truth.rotation, atol=1e-9)
    assert torch.allclose(found.points(points), truth.points(points), atol=1e-9)
    with refused("leaves a turn free", "orientations"):
        Similarity.between(points, truth.points(points))


def test_orientations_count_only_where_points_leave_a_turn_free() -> None:
    truth, points = some((2,), 5), torch.randn(2, 6, 3).double()
    points[1] = LINES["a line"][:6]
    turns = some((2, 6), 3).rotation
    wrong = some((2, 6), 4).rotation
    right = truth.rotation[:, None] @ turns
    found = Similarity.between(points, truth.points(points), orientations=(turns, torch.stack([wrong[0], right[1]])))
    assert torch.allclose(found.rotation, truth.rotation, atol=1e-9)
    bare = Similarity.between(points[:1], truth.points(points)[:1])
    assert torch.equal(bare.rotation, found.rotation[:1]), "to the bit"


def test_gradients_pass_through() -> None:
    change, points = some((), 3), torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    shift = change.translation.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p, t: Similarity(change.scale, change.rotation, t).inverse().points(p), (points, shift)
    )


def test_files_keep_every_bit_and_nonsense_is_refused() -> None:
    change = some((), 8)
    back = Similarity.from_json(json.loads(json.dumps(change.to_json())))
    assert all(torch.equal(getattr(back, n), getattr(change, n)) for n in ("scale", "rotation", "translation"))
    good = change.to_json()
    for name, value in (("scale", -1.0), ("scale", [1.0]), ("rotation", [[1.0, 0, 0]] * 3), ("translation", None)):
        with pytest.raises(InputError, match="similarity"):
            Similarity.from_json(good | {name: value})
    with pytest.raises(InputError, match="similarity"):
        Similarity.from_json("x")


def test_a_world_of_another_unit_keeps_the_images_of_its_cameras() -> None:
    cameras = Cameras.from_fov(torch.eye(4)[None], 50.0, (4, 4))
    feet = Similarity(torch.tensor(3.28), torch.eye(3), torch.zeros(3))
    assert torch.equal(feet.apply(cameras).K, cameras.K)


def test_invalid_similarities_are_refused(unchecked: None) -> None:
    one, turn, still = torch.ones(()), torch.eye(3), torch.zeros(3)
    for parts, words in (
        ((-one, turn, still), "more than 0"),
        ((one, torch.diag(torch.tensor([1.0, 1, -1])), still), "mirrors"),
        ((one, 2 * turn, still), "mirrors, shears"),
        ((one, torch.eye(4), still), "expected"),
        ((one, turn, still * torch.nan), "NaN or Inf"),
    ):
        with pytest.raises(InputError, match=words):
            Similarity(*parts)


@dataclass(frozen=True)
class Marker:
    """A value type from outside the package."""

    point: torch.Tensor

    def transformed(self, new_from_old: Similarity) -> "Marker":
        return Marker(new_from_old.points(self.point[None])[0])

    def with_float64_positions(self) -> "Marker":
        return Marker(self.point.double())


def test_a_type_from_outside_goes_to_another_world_and_comes_back() -> None:
    change = some((), 6)
    there = change.apply(Marker(torch.tensor([1.0, 2.0, 3.0])))
    back = change.undo(Marker(there.point.float()))
    assert back.point.dtype == torch.float64 and torch.allclose(back.point, torch.tensor([1.0, 2, 3]).double(), 1e-4)
