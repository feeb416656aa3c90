"""What depth makes; where it makes nothing, the frames are kept."""

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.errors import Note
from geometry.points.pointclouds import points_from_depth
from geometry.rotation.transforms import look_at
from worldgen.core.clip import Clip
from worldgen.pipelines import lifting
from worldgen.pipelines.lifting import lift

CAMERAS = Cameras.from_fov(look_at(torch.tensor([[0.0, -3, 1], [1.0, -3, 1]]), torch.zeros(2, 3)), 60.0, (64, 64))


def clip(depth: float) -> Clip:
    """Two frames of a wall."""
    return Clip(torch.rand(2, 3, 64, 64), torch.full((2, 1, 64, 64), depth), CAMERAS)


@pytest.mark.parametrize("depth", [20.0, 0.0, torch.inf])
def test_depth_of_nothing_near_the_pivot_gives_an_empty_world_and_a_note(depth: float) -> None:
    with pytest.warns(Note) as told:
        lifted = lift(clip(depth), torch.zeros(3), 3.0)
    assert len(lifted.mesh.faces) == len(lifted.mesh.vertices) == len(lifted.points) == 0
    assert lifted.failed.keys() == {"points.ply", "mesh.glb"}
    assert [str(note.message).partition(":")[0] for note in told] == [
        "the world has no points",
        "the world has no mesh",
    ]


def test_a_mesh_that_cannot_be_made_leaves_the_points(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("not enough memory")

    monkeypatch.setattr(lifting, "fuse_tsdf", failing)
    with pytest.warns(Note, match="no mesh: RuntimeError not enough memory"):
        lifted = lift(clip(3.0), torch.zeros(3), 3.0)
    assert len(lifted.points) > 100 and lifted.failed == {"mesh.glb": "RuntimeError not enough memory"}


@pytest.mark.filterwarnings("error")
def test_a_surface_near_the_pivot_is_lifted_without_a_word() -> None:
    lifted = lift(clip(3.0), torch.zeros(3), 3.0)
    assert len(lifted.points) > 100 and len(lifted.mesh.faces) > 100 and lifted.failed == {}


def test_points_and_mesh_are_those_within_one_scene_scale_of_the_pivot() -> None:
    scale, pivot = 0.8, torch.tensor([0.2, 0.0, 0.0])
    every = points_from_depth(clip(3.0).rgb, clip(3.0).depth, CAMERAS).points
    apart = (every - pivot).norm(dim=-1)
    assert bool((apart < 0.6 * scale).any()) and bool((apart > 2 * scale).any()), "the wall reaches farther"
    lifted = lift(clip(3.0), pivot, scale)
    voxel = scale / 48 * 3**0.5
    assert float((lifted.points.points - pivot).norm(dim=-1).max()) < scale + voxel
    assert float((lifted.points.points - pivot).norm(dim=-1).max()) > 0.9 * scale
    assert float((lifted.mesh.vertices - pivot).abs().max()) < scale + voxel
