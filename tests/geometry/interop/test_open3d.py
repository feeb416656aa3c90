"""Open3D as a second opinion on fusion."""

import importlib
import sys

import pytest
import torch

from geometry.interop.open3d import fuse_tsdf_open3d
from geometry.tsdf import fuse_tsdf
from tests.geometry.spheres import sphere_scene


@pytest.mark.parametrize("voxel", [0.1, 0.06])
def test_our_fusion_and_open3ds_agree_within_a_twentieth_of_a_voxel(voxel) -> None:
    try:
        importlib.import_module("open3d")
    except (ImportError, OSError) as error:
        pytest.skip(f"Open3D cannot be loaded: {error}")
    scene = sphere_scene()
    ours = fuse_tsdf(scene.rgb, scene.depth, scene.cameras, voxel)
    theirs = fuse_tsdf_open3d(scene.rgb, scene.depth, scene.cameras, voxel)
    distance = torch.cdist(ours.vertices, theirs.vertices)
    chamfer = (distance.amin(0).mean() + distance.amin(1).mean()) / 2
    assert chamfer < voxel / 20
    assert abs(len(ours.faces) - len(theirs.faces)) <= 0.01 * len(ours.faces)
    bounds = torch.stack([scene.centre - torch.tensor([1.0, 1.0, 0.0]), scene.centre + 1.0])
    upper = fuse_tsdf_open3d(scene.rgb, scene.depth, scene.cameras, voxel, bounds=bounds)
    assert bool((upper.vertices[:, 2] >= scene.centre[2]).all()) and len(upper.faces) > len(theirs.faces) / 3


def test_without_open3d_one_line_says_how_to_get_it(monkeypatch, refused) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    scene = sphere_scene(frames=1)
    with refused("pip install 'worldgen[open3d]'", "libusb-1.0-0 libgl1 libegl1 libx11-6"):
        fuse_tsdf_open3d(scene.rgb, scene.depth, scene.cameras, 0.1)
