"""Optical flow and scene flow, against exact scenes and the reference libraries."""

import math
from functools import cache

import pytest
import torch
from safetensors.torch import load_file

from geometry.camera.cameras import Cameras
from geometry.camera.rays import camera_directions, pixel_centers
from geometry.image.flow import (
    flow_from_depth,
    forward_backward_visible,
    scene_flow_from_flow_and_depths,
    warp_by_flow,
)
from geometry.rotation.transforms import invert_rigid, look_at
from worldgen import scenes
from worldgen.core.clip import Clip


@cache
def street() -> Clip:
    """A drive through moving traffic, in double precision (so not by numba, which would have to be compiled first)."""
    scene = scenes.draw("street", seed=0, indices=[0])
    shot = scenes.ClipSpec(frames=3, fps=8.0, hw=(24, 32))
    cameras = scenes.views("street", scene, 0, [0], False, shot).to(torch.float64)
    return scenes.render(scene.to(torch.float64), cameras, 1, ("flow", "scene_flow", "visibility"))


def plane_depth(cameras: Cameras, normal: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """z-depth [f, 1, h, w] of the planes normal . x = offset [f]."""
    rays = camera_directions(cameras, pixel_centers(cameras.hw, dtype=torch.float64))
    across = torch.einsum("fhwc,fdc,d->fhw", rays, cameras.world_from_camera[:, :3, :3], normal)
    return ((offset - cameras.centers @ normal)[:, None, None] / across)[:, None]


def pair(hw: tuple[int, int] = (12, 16)) -> Cameras:
    eye = torch.tensor([[0.0, -3.0, 1.0], [0.4, -2.8, 1.1]], dtype=torch.float64)
    return Cameras.from_fov(look_at(eye, torch.zeros(1, 3, dtype=torch.float64)), 50.0, hw)


def test_flow_of_exact_depth_and_motion_is_the_scenes_own() -> None:
    clip = street()
    assert clip.flow is not None and clip.scene_flow is not None
    here, there, depth = clip.cameras[:, :-1], clip.cameras[:, 1:], clip.depth[:, :-1]
    assert depth.isinf().any() and clip.scene_flow.norm(dim=2).max() > 1
    flow, valid = flow_from_depth(depth, here, there, clip.scene_flow[:, :-1])
    assert bool(valid.all()) and (flow - clip.flow[:, :-1]).abs().max() < 1e-4
    still, _ = flow_from_depth(depth, here, there)
    assert (still - clip.flow[:, :-1]).abs().max() > 0.1, "without the traffic's motion it is not"


def test_scene_flow_of_exact_flow_and_depths_is_the_scenes_own_but_at_edges() -> None:
    clip = street()
    assert clip.flow is not None and clip.scene_flow is not None and clip.visibility is not None
    here, there = clip.cameras[:, :-1], clip.cameras[:, 1:]
    moved, valid = scene_flow_from_flow_and_depths(
        clip.flow[:, :-1], clip.depth[:, :-1], clip.depth[:, 1:], here, there
    )
    seen = clip.visibility[:, :-1] & valid
    error = (moved - clip.scene_flow[:, :-1]).norm(dim=2, keepdim=True)[seen]
    assert seen.sum() > 500 and error.median() < 1e-4 and (error < 0.02).double().mean() > 0.6
    assert not moved[~valid.expand_as(moved)].any() and not valid[clip.depth[:, :-1].isinf()].any()


def test_a_moving_plane_comes_back_exactly() -> None:
    cameras, normal = pair(), torch.tensor([0.2, -0.1, 1.0], dtype=torch.float64)
    shift = torch.tensor([0.3, 0.1, -0.2], dtype=torch.float64)
    depth = plane_depth(cameras, normal, torch.stack([torch.zeros(()).double(), normal @ shift]))
    motion = shift[:, None, None].expand(3, 12, 16)
    flow, _ = flow_from_depth(depth[0], cameras[0], cameras[1], motion)
    found, valid = scene_flow_from_flow_and_depths(flow, depth[0], depth[1], cameras[0], cameras[1])
    uv = pixel_centers((12, 16), dtype=torch.float64) + flow.movedim(0, -1)
    border = ((uv < 0.5) | (uv > torch.tensor([15.5, 11.5]))).any(-1)  # half a pixel wide, where depth is the border's
    inner = valid & ~border
    assert inner.sum() > 80 and (found - motion).abs()[:, inner[0]].max() < 1e-9


def test_unknown_depth_and_points_behind_have_no_flow_and_sky_only_rotates() -> None:
    cameras = pair((6, 8))
    behind = look_at(torch.tensor([0.0, 5.0, 1.0]).double(), torch.tensor([0.0, 9.0, 1.0]).double())
    depth = torch.full((1, 6, 8), 3.0, dtype=torch.float64)
    depth[:, 0] = 0
    flow, valid = flow_from_depth(depth, cameras[0], Cameras(behind, cameras.K[0], (6, 8)))
    assert not valid.any() and not flow.any()
    sky, pose = torch.full_like(depth, math.inf), cameras.world_from_camera[0].clone()
    pose[:3, 3] += 1e3
    flow, valid = flow_from_depth(sky, cameras[0], Cameras(pose, cameras.K[0], (6, 8)))
    assert bool(valid.all()) and flow.abs().max() < 1e-9


def test_visible_points_are_those_whose_flow_comes_back() -> None:
    """The exact flow of still things both ways, against the rays of the scene that say what is hidden."""
    clip = street()
    assert clip.visibility is not None and clip.scene_flow is not None
    here, there = clip.cameras[:, :-1], clip.cameras[:, 1:]
    ahead, _ = flow_from_depth(clip.depth[:, :-1], here, there)
    back, _ = flow_from_depth(clip.depth[:, 1:], there, here)
    still = clip.scene_flow[:, :-1].norm(dim=2, keepdim=True) < 1e-6
    same = forward_backward_visible(ahead, back) == clip.visibility[:, :-1]
    assert same[still].double().mean() > 0.93


CASES = ("zero", "integer_shift", "subpixel_shift", "zoom_rotation", "occlusion")


@pytest.mark.parametrize("case", CASES)
def test_warps_by_flow_and_their_errors_agree_with_the_reference(shared, case) -> None:
    golden = load_file(shared / "golden/metrics_flow.safetensors")
    data = {name.split(".")[1]: value for name, value in golden.items() if name.startswith(case + ".")}
    flow = data["flow12"].double()
    warped, valid = warp_by_flow(data["image2"].double(), flow)
    assert torch.equal(valid[0], data["valid"])
    assert (warped - data["warped2"])[:, data["valid"]].abs().max() < 1e-9
    error = (warped - data["image1"].double())[:, valid[0]]
    assert float(error.abs().mean()) == pytest.approx(float(data["l1_valid"]), abs=1e-9)
    assert float(error.square().mean()) == pytest.approx(float(data["mse_valid"]), abs=1e-9)
    if case == "occlusion":
        visible = forward_backward_visible(flow, data["flow21"].double())
        assert torch.equal(visible[0], data["visible"] & data["valid"])
        seen = (warped - data["image1"].double())[:, visible[0]]
        assert float(seen.abs().mean()) == pytest.approx(float(data["l1_valid_visible"]), abs=1e-9)


def test_warping_by_the_flow_of_depth_agrees_with_kornia(shared) -> None:
    golden = load_file(shared / "golden/depth_warp.safetensors")
    K = golden["K"].clone()
    K[:2, 2] += 0.5  # its pixel centers are whole numbers
    source = Cameras(torch.eye(4, dtype=torch.float64).repeat(4, 1, 1), K.repeat(4, 1, 1), (20, 28))
    target = Cameras(invert_rigid(golden["src_from_dst"]), source.K, (20, 28))
    flow, valid = flow_from_depth(golden["depth_z"].expand(4, 1, 20, 28), source, target)
    uv = pixel_centers((20, 28), dtype=torch.float64) + flow.movedim(1, -1)
    assert bool(valid.all()) and (uv - 0.5 - golden["source_pixels"]).abs().max() < 1e-9
    warped, inside = warp_by_flow(golden["image"].expand(4, -1, -1, -1), flow)
    inside = inside.expand_as(warped)
    assert inside.double().mean() > 0.5
    assert (warped - golden["warped"])[inside].abs().max() < 1e-6


def test_shapes_that_do_not_fit_are_refused(refused, unchecked) -> None:
    cameras = pair((6, 8))
    with refused("flow: depth (1, 5, 8)"):
        flow_from_depth(torch.ones(1, 5, 8, dtype=torch.float64), cameras[0], cameras[1])


def test_how_far_a_flow_may_miss_grows_with_its_length() -> None:
    """Of flows of 10 pixels both ways, |sum|^2 may be 0.01 * 200 + 0.5 by default; of flows of 0.1 half a pixel's."""
    for length, miss, visible in ((10.0, 1.5, True), (10.0, 1.68, False), (0.1, 0.6, True), (0.1, 0.75, False)):
        flow = torch.zeros(2, 8, 40)
        flow[0] = length
        back = torch.zeros(2, 8, 40)
        back[0], back[1] = -length, miss
        same = forward_backward_visible(flow, back)
        assert bool((same[..., 2:20] == visible).all()), (length, miss)
