"""Where the geometry degenerates, gradients stay finite."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import geometry
from geometry import Mesh
from tests.geometry.test_gradients import HW, camera, check, numbers, pixels, rotations, seen, unit


def finite(function: Callable[..., Any], *inputs: torch.Tensor) -> None:
    """The function's numbers and their gradients are finite."""
    inputs = tuple(value.detach().clone().requires_grad_() for value in inputs)
    results = numbers(function(*inputs))
    assert all(bool(result.isfinite().all()) for result in results)
    if results:
        gradients = torch.autograd.grad([result.sum() for result in results], inputs, materialize_grads=True)
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)


DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


@DTYPES
def test_without_a_baseline_lines_and_distances_have_finite_gradients(dtype) -> None:
    parts, uv = [part.to(dtype) for part in camera()], pixels(()).to(dtype)

    def distances(wxyz, center, lens, uv) -> Any:
        F = geometry.fundamental(seen(wxyz, center, lens), seen(wxyz, center.detach(), lens))
        pair = uv, uv + 1
        return (
            geometry.epipolar_lines(F, uv),
            geometry.sampson_distance(F, *pair),
            geometry.symmetric_epipolar_distance(F, *pair),
        )

    finite(distances, *parts, uv)
    finite(lambda F, uv: geometry.sampson_distance(F, uv, uv), torch.zeros(3, 3, dtype=dtype), uv)
    finite(lambda F, uv: geometry.symmetric_epipolar_distance(F, uv, uv), torch.zeros(3, 3, dtype=dtype), uv)
    finite(geometry.epipolar_lines, torch.zeros(3, 3, dtype=dtype), uv)


@DTYPES
def test_matches_that_agree_exactly_have_finite_gradients(dtype) -> None:
    F = torch.tensor([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=dtype)  # rows are lines
    uv = torch.tensor([[1.0, 2.0], [3.0, 1.0]], dtype=dtype)
    for distance in (geometry.sampson_distance, geometry.symmetric_epipolar_distance):
        assert not distance(F, uv, uv + torch.tensor([1.0, 0.0], dtype=dtype)).any()
        finite(distance, F, uv, uv + torch.tensor([1.0, 0.0], dtype=dtype))


@DTYPES
def test_points_at_and_behind_the_camera_have_finite_gradients(dtype) -> None:
    wxyz, center, lens = (part.to(dtype) for part in camera())
    offsets = torch.tensor([[0.0, 0, 0], [0, 0, -1], [1, 0, 0], [1e-20, 0, 0]], dtype=dtype)
    upright = torch.tensor([1.0, 0, 0, 0], dtype=dtype)
    finite(lambda *parts: geometry.project(seen(*parts), parts[1] + offsets), upright, center, lens)
    source, target = seen(wxyz, center, lens), seen(upright, center + 1, lens)
    for depth in (0.0, math.inf):
        finite(
            lambda d, pose: geometry.flow_from_depth(d, source, replace(target, world_from_camera=pose)),
            torch.full((1, *HW), depth, dtype=dtype),
            target.world_from_camera,
        )
    depth = torch.ones(1, 1, *HW, dtype=dtype)
    depth[..., 0, :], depth[..., 1, :] = 0, math.inf
    rgb = torch.rand(1, 3, *HW, dtype=dtype)

    def warped(rgb, depth, wxyz, center, lens) -> Any:
        cameras = seen(wxyz, center, lens)
        return geometry.soft_forward_warp(rgb, depth, cameras.reshape(1), cameras)[::2]

    finite(warped, rgb, depth, wxyz, center, lens)
    flow = torch.zeros(2, *HW, dtype=dtype)
    camera_there = seen(wxyz, center, lens)
    finite(
        lambda flow, a, b: geometry.scene_flow_from_flow_and_depths(flow, a, b, camera_there, camera_there),
        flow, depth[0], depth[0],
    )  # fmt: skip


@DTYPES
def test_rays_parallel_to_a_triangle_have_finite_gradients(dtype) -> None:
    cameras = seen(*(part.to(dtype) for part in camera()))
    edge_on = torch.tensor([[0.0, -1, 1], [0.0, 1, 1], [0.0, 0, 5]], dtype=dtype) + cameras.centers
    flat = torch.tensor([[0.0, 0, 2], [1.0, 0, 2], [0.5, 0, 2]], dtype=dtype)
    faces = torch.tensor([[0, 1, 2]])
    for corners in (edge_on, flat):
        for draw in (geometry.render_mesh, geometry.soft_render_mesh):
            finite(lambda v, c, draw=draw: draw(Mesh(v, faces, c), cameras), corners, torch.rand(3, 3, dtype=dtype))
        finite(lambda v: geometry.soft_silhouette(Mesh(v, faces), cameras), corners)
        finite(lambda v: geometry.vertex_normals(Mesh(v, faces)), corners)


@DTYPES
def test_half_turns_and_no_turn_at_all_have_finite_and_right_gradients(dtype) -> None:
    half = torch.tensor([[0.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0.6, 0, 0.8], [1, 0, 0, 0]], dtype=dtype)
    finite(geometry.matrix_from_quaternion_wxyz, half)
    finite(geometry.quaternion_wxyz_from_matrix, rotations(half))
    # A quaternion's sign jumps at half a turn; the rotation that it stands for does not.
    back = (lambda q: rotations(geometry.quaternion_wxyz_from_matrix(rotations(q))), (half.double(),))
    check(back)
    share = torch.full((5,), 0.3, dtype=dtype)
    for other in (half, -half, half.roll(1, 0), half + 1e-9):
        finite(geometry.slerp, half, unit(other), share)
    finite(geometry.rotation_about, half[:, 1:] + half[:, :1], torch.zeros(5, dtype=dtype))
    finite(geometry.rotation_about, half[:, 1:] + half[:, :1], torch.full((5,), math.pi, dtype=dtype))


@DTYPES
def test_black_white_and_straight_down_have_finite_gradients(dtype) -> None:
    ends = torch.tensor([0.0, 1.0, 0.04045, 0.0031308, -0.1], dtype=dtype)
    finite(geometry.linear_from_srgb, ends)
    finite(geometry.srgb_from_linear, ends)
    up = torch.tensor([[0.0, 0, 1], [0, 0, -1], [1e-9, 0, 1]], dtype=dtype)
    finite(geometry.look_at, torch.zeros(3, 3, dtype=dtype), up)
    finite(lambda poses: geometry.nearest_point_to_axes(poses), geometry.look_at(up, 2 * up))
    same = torch.rand(4, 3, dtype=dtype)
    finite(lambda x, y: geometry.cloud_distance(x, y).chamfer, same, same)
