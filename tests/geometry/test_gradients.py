"""Gradients of every differentiable public function are those of finite differences, whatever the batch shape.

Where the geometry degenerates: test_degenerate_gradients.py."""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
import torch

import geometry
from geometry import Cameras, Mesh, PointCloud, RollingShutter, Similarity, Splats
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz
from geometry.rotation.transforms import rigid

HW = (3, 4)
BATCHES = [(), (1,), (3, 1, 2)]
Case = tuple[Callable[..., Any], tuple[torch.Tensor, ...]]

# gradcheck of these is in tests/geometry/TABLE.py, where what they need is at hand.
ELSEWHERE = {
    "as_depth": "image/test_coercion", "as_depths": "image/test_coercion", "as_frames": "image/test_coercion",
    "as_image": "image/test_coercion", "axis_angle_from_matrix": "rotation/test_representations",
    "euler_from_matrix": "rotation/test_representations", "matrix_from_6d": "rotation/test_representations",
    "matrix_from_axis_angle": "rotation/test_representations", "matrix_from_euler": "rotation/test_representations",
    "bake": "mesh/test_texturing", "rasterize": "mesh/test_rasterizing", "render_textured": "mesh/test_texturing",
    "render_splats": "gaussians/test_splatting", "rolling_project": "camera/test_rolling_shutter",
    "se3_exp": "rotation/test_representations", "se3_log": "rotation/test_representations",
    "six_d_from_matrix": "rotation/test_representations", "soft_forward_warp": "image/test_soft_warping",
    "soft_render_mesh": "mesh/test_soft_rasterizing", "soft_silhouette": "mesh/test_soft_rasterizing",
}  # fmt: skip
# Masks, words, integers and meshes cut from grids.
NOT_DIFFERENTIABLE = {
    "backward_visible", "describe", "draw_cameras", "epipolar_mask", "estimate_normals", "estimate_up", "fit_splats",
    "float32_holds", "forward_backward_visible", "fuse_tsdf", "inverse_depth_planes", "largest_components", "lens_mask",
    "level_from_world", "lint", "nearest_depth", "nearest_neighbors", "parse_up", "radius_outliers", "simplify",
    "statistical_outliers", "surface_points", "unwrap",
}  # fmt: skip


PLANES = torch.linspace(0.1, 0.6, 5, dtype=torch.float64)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def uniform(*shape: int) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64)


def rotations(wxyz: torch.Tensor) -> torch.Tensor:
    return matrix_from_quaternion_wxyz(wxyz)


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def turns(*batch: int) -> torch.Tensor:
    """Quaternions, not of unit length, of any rotation but those near 180 degrees."""
    return torch.cat([1 + uniform(*batch, 1), normal(*batch, 3) / 3], -1)


def camera(*batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What `seen` makes a camera of that looks roughly along z: quaternions, centers, and fx fy cx cy."""
    lens = torch.tensor([4.0, 4.3, 2.1, 1.4], dtype=torch.float64) + 0.1 * normal(*batch, 4)
    return torch.cat([1 + 0 * normal(*batch, 1), 0.05 * normal(*batch, 3)], -1), 0.1 * normal(*batch, 3), lens


def seen(*parts: torch.Tensor) -> Cameras:
    wxyz, center, lens = parts
    fx, fy, cx, cy = lens.unbind(-1)
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    K = torch.stack([fx, zero, cx, zero, fy, cy, zero, zero, one], -1).unflatten(-1, (3, 3))
    return Cameras(rigid(rotations(wxyz), center), K, HW)


def of_cameras(function: Callable[[Cameras], Any]) -> Callable[[tuple[int, ...]], Case]:
    return lambda b: (lambda *parts: function(seen(*parts)), camera(*b))


def of_two(function: Callable[..., Any], *more: Callable[[tuple[int, ...]], torch.Tensor]) -> Callable:
    """A function of two cameras and further inputs."""
    return lambda b: (
        lambda *parts: function(seen(*parts[:3]), seen(*parts[3:6]), *parts[6:]),
        (*camera(*b), *camera(*b), *(make(b) for make in more)),
    )


def ahead(b: tuple[int, ...]) -> torch.Tensor:
    return normal(*b, 5, 3) + torch.tensor([0.0, 0.0, 6.0], dtype=torch.float64)


def depths(b: tuple[int, ...], hw: tuple[int, int] = HW) -> torch.Tensor:
    return 3 + uniform(*b, 1, *hw)


def flows(b: tuple[int, ...]) -> torch.Tensor:
    return 0.6 * (uniform(*b, 2, *HW) - 0.5) + 0.13


def pixels(b: tuple[int, ...], count: int = 5) -> torch.Tensor:
    return uniform(*b, count, 2) * 3 + 0.2


def plain(b: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A turn, a center and a field of view, which Unreal's cameras have alone."""
    return turns(*b), normal(*b, 3), 40 + 40 * uniform(*b)


def of_paths(function: Callable[..., Any]) -> Callable[[tuple[int, ...]], Case]:
    """A function of two trajectories of four poses."""
    return lambda b: (
        lambda q, t, r, s: function(rigid(rotations(q), t), rigid(rotations(r), s)),
        (turns(*b, 4), normal(*b, 4, 3), turns(*b, 4), normal(*b, 4, 3)),
    )


def shuttered(wxyz, center, lens, velocity, turning, readout) -> Any:
    return geometry.rolling_ray_map(seen(wxyz, center, lens), RollingShutter(velocity, turning, readout))


def changed(scale, wxyz, shift, points, depth) -> Any:
    change = Similarity(scale, rotations(wxyz), shift)
    return (change @ change).points(points), change.inverse(), change.depth(depth)


def resampled(image, wxyz, other, center, lens) -> Any:
    source, target = seen(wxyz, center, lens), seen(other, center, lens)
    return geometry.resample(image, source, target)[0], geometry.resampling_map(source, target)[0]


def agreeing(b: tuple[int, ...]) -> Case:
    """In colors alone: what differences of depth are relative to carries no gradient."""
    inverse, cameras = 1 / depths((*b, 3)), seen(*camera(*b, 3))
    return lambda rgb: geometry.agreement(rgb, inverse, cameras), (uniform(*b, 3, 3, *HW),)


BATCHED: dict[str, Callable[[tuple[int, ...]], Case]] = {
    "agreement": lambda b: agreeing(b),
    "Cameras": of_cameras(
        lambda c: (c.resized((6, 4)), c.cropped(1, -1, (2, 2)), c.scaled(2.5), c.camera_from_world, c.forward)
    ),
    "Similarity": lambda b: (
        changed,
        (1 + uniform(*b), turns(*b), normal(*b, 3), normal(*b, 4, 3), depths(b)[..., 0, :, :]),
    ),
    "cameras_from": lambda b: (
        lambda q, t, K: geometry.cameras_from("opengl", rigid(rotations(q), t), K, HW),
        (turns(*b), normal(*b, 3), normal(*b, 3, 3)),
    ),
    "cameras_from_colmap": lambda b: (
        lambda q, t, K: geometry.cameras_from_colmap(q, t, K, HW),
        (turns(*b), normal(*b, 3), normal(*b, 3, 3)),
    ),
    "cameras_from_pytorch3d": lambda b: (
        lambda q, t, focal, middle: geometry.cameras_from_pytorch3d(rotations(q), t, focal, middle, HW),
        (turns(*b), normal(*b, 3), 1 + uniform(*b, 2), normal(*b, 2)),
    ),
    "cameras_from_realestate10k": lambda b: (
        lambda q, t, lens: geometry.cameras_from_realestate10k(
            torch.cat([lens, 0 * lens[..., :2], rigid(rotations(q), t)[..., :3, :].flatten(-2)], -1), HW
        ),
        (turns(*b), normal(*b, 3), 1 + uniform(*b, 4)),
    ),
    "cameras_from_unreal": lambda b: (
        lambda place, turn, fov: geometry.cameras_from_unreal(place, turn, fov, HW),
        (100 * normal(*b, 3), 40 * normal(*b, 3), 40 + 40 * uniform(*b)),
    ),
    "cameras_to": of_cameras(lambda c: [geometry.cameras_to(name, c) for name in ("kornia", "blender", "unreal")]),
    "cameras_to_colmap": of_cameras(geometry.cameras_to_colmap),
    "cameras_to_pytorch3d": of_cameras(geometry.cameras_to_pytorch3d),
    "cameras_to_realestate10k": of_cameras(geometry.cameras_to_realestate10k),
    "cameras_to_unreal": lambda b: (
        lambda q, t, fov: geometry.cameras_to_unreal(Cameras.from_fov(rigid(rotations(q), t), fov, HW)),
        plain(b),
    ),
    "distort": lambda b: (geometry.distort, (0.3 * normal(*b, 4, 2), 0.1 * normal(*b, 8))),
    "epipolar_lines": lambda b: (geometry.epipolar_lines, (normal(*b, 3, 3), pixels(b))),
    "essential": of_two(geometry.essential),
    "fill_nearest": lambda b: (
        lambda rgb: geometry.fill_nearest(rgb, torch.arange(12).view(1, *HW).expand(*b, 1, *HW) % 3 == 0),
        (uniform(*b, 3, *HW),),
    ),
    "flow_from_depth": lambda b: of_two(
        lambda source, target, depth, moved: geometry.flow_from_depth(depth, source, target, moved),
        depths,
        lambda b: 0.1 * normal(*b, 3, *HW),
    )(b),
    "footprints": lambda b: (
        lambda m, q, s, *parts: (lambda found: (found.means, found.covariances, found.compensations, found.conics))(
            geometry.footprints(Splats(m, q, s, 0 * m[:, 0], 0 * m[:, None]), seen(*parts))
        ),
        (ahead(()), turns(5), 0.2 + uniform(5, 3), *camera(*b)),
    ),
    "fov_deg": of_cameras(geometry.fov_deg),
    "fundamental": of_two(geometry.fundamental),
    "gltf_from_world": lambda b: (geometry.gltf_from_world, (normal(*b, 3),)),
    "invert_rigid": lambda b: (geometry.invert_rigid, (normal(*b, 4, 4),)),
    "linear_from_srgb": lambda b: (geometry.linear_from_srgb, (uniform(*b, 3, 4),)),
    "look_at": lambda b: (geometry.look_at, (normal(*b, 3), normal(*b, 3) + 3)),
    "matrix_from_quaternion_wxyz": lambda b: (geometry.matrix_from_quaternion_wxyz, (normal(*b, 4),)),
    "nearest_point_to_axes": lambda b: (
        lambda q, t, *guess: geometry.nearest_point_to_axes(rigid(rotations(q), t), *guess),
        (turns(*b, 3), normal(*b, 3, 3), normal(*b, 3), uniform(*b)),
    ),
    "opencv_from_opengl": lambda b: (geometry.opencv_from_opengl, (normal(*b, 4, 4),)),
    "plucker": of_cameras(geometry.plucker),
    "plucker_of": lambda b: (geometry.plucker_of, (normal(*b, 2, 2, 3), normal(*b, 2, 2, 3))),
    "project": lambda b: (
        lambda *parts: geometry.project(seen(*parts[:3]), parts[3]),
        (*camera(*b), ahead(b)),
    ),
    "quaternion_wxyz_from_matrix": lambda b: (
        lambda q: geometry.quaternion_wxyz_from_matrix(rotations(q)),
        (turns(*b),),
    ),
    "ray_map": of_cameras(geometry.ray_map),
    "resample": lambda b: (resampled, (uniform(*b, 2, *HW), camera(*b)[0], *camera(*b))),
    "resampling_map": lambda b: BATCHED["resample"](b),
    "ate": lambda b: of_paths(lambda found, true: [geometry.ate(found, true, a) for a in ("none", "rigid", "sim3")])(b),
    "rpe": lambda b: of_paths(geometry.rpe)(b),
    "ssim": lambda b: (geometry.ssim, (uniform(*b, 1, 11, 12), uniform(*b, 1, 11, 12))),
    "trajectory_errors": lambda b: of_paths(lambda *paths: vars(geometry.trajectory_errors(*paths)))(b),
    "rigid": lambda b: (geometry.rigid, (normal(*b, 3, 3), normal(*b, 3))),
    "rolling_ray_map": lambda b: (shuttered, (*camera(*b), normal(*b, 3), normal(*b, 3), 0.1 * uniform(*b))),
    "rotation_about": lambda b: (geometry.rotation_about, (normal(*b, 3), normal(*b))),
    "sample_at": lambda b: (geometry.sample_at, (uniform(*b, 2, *HW), pixels(b))),
    "sampson_distance": lambda b: (geometry.sampson_distance, (normal(*b, 3, 3), pixels(b), pixels(b))),
    "scene_flow_from_flow_and_depths": of_two(
        lambda c, d, flow, here, there: geometry.scene_flow_from_flow_and_depths(flow, here, there, c, d),
        flows,
        depths,
        depths,
    ),
    "slerp": lambda b: (
        lambda first, second, share: geometry.slerp(unit(first), unit(second), share),
        (turns(*b), turns(*b), uniform(*b)),
    ),
    "srgb_from_linear": lambda b: (geometry.srgb_from_linear, (uniform(*b, 3, 4),)),
    "symmetric_epipolar_distance": lambda b: (
        geometry.symmetric_epipolar_distance,
        (normal(*b, 3, 3), pixels(b), pixels(b)),
    ),
    "transform_points": lambda b: (geometry.transform_points, (normal(*b, 4, 4), normal(*b, 5, 3))),
    "triangulate": lambda b: (
        lambda *parts: geometry.triangulate(seen(*parts[:3]), parts[3]),
        (*camera(*b, 3), pixels((*b, 3), 2)),
    ),
    "undistort": lambda b: (
        lambda image, *parts: geometry.undistort(image, seen(*parts))[0],
        (uniform(*b, 2, *HW), *camera(*b)),
    ),
    "unproject": lambda b: (
        lambda *parts: geometry.unproject(seen(*parts[:3]), parts[3]),
        (*camera(*b), depths(b)),
    ),
    "warp_by_flow": lambda b: (geometry.warp_by_flow, (uniform(*b, 3, *HW), flows(b))),
    "world_from_gltf": lambda b: (geometry.world_from_gltf, (normal(*b, 3),)),
}


def frames(function: Callable[..., Any], *more: torch.Tensor) -> Case:
    """A function of the cameras, depth and images of 3 frames, and of what else there is."""
    return (
        lambda *parts: function(seen(*parts[:3]), *parts[3:]),
        (*camera(3), depths((3,)), uniform(3, 3, *HW), *more),
    )


def surface() -> tuple[Mesh, geometry.Raster, Cameras]:
    corners = torch.tensor([[-9.0, -8.0, 3.0], [9.0, -8.0, 4.0], [0.0, 11.0, 5.0]], dtype=torch.float64)
    mesh, cameras = Mesh(corners, torch.tensor([[0, 1, 2]]), uniform(3, 3)), seen(*camera(2))
    return mesh, geometry.rasterize(mesh, cameras), cameras


def rendered() -> Case:
    mesh, _, cameras = surface()
    return (
        lambda v, c: geometry.render_mesh(Mesh(v, mesh.faces, c), cameras),
        (mesh.vertices, uniform(3, 3)),
    )


def shaded() -> Case:
    mesh, raster, _ = surface()
    return (
        lambda weights, c, back: geometry.shade(replace(raster, weights=weights), replace(mesh, colors=c), back),
        (raster.weights, uniform(3, 3), uniform(3)),
    )


def interpolated() -> Case:
    mesh, raster, _ = surface()
    return (
        lambda weights, values: geometry.interpolate(replace(raster, weights=weights), mesh, values),
        (raster.weights, normal(3, 2)),
    )


def splats(means, wxyz, scales, opacities, harmonics, eye, turn) -> Any:
    made = Splats(means, wxyz, scales, opacities, harmonics)
    return made.covariances, made.colors_from(eye), made.moved(rigid(rotations(turn), eye)).scaled(2.0).harmonics


ALONE: dict[str, Callable[[], Case]] = {
    "Splats": lambda: (
        splats,
        (normal(4, 3), turns(4), uniform(4, 3), uniform(4), normal(4, 4, 3) / 9, normal(3) * 5, turns()),
    ),
    "backward_warp": lambda: frames(
        lambda c, depth, rgb: geometry.backward_warp(rgb[1:], depth[0], c[0], depth[1:], c[1:], 9.0)
    ),
    "cloud_distance": lambda: (
        lambda x, y: (lambda found: (found.chamfer, found.to_reference))(geometry.cloud_distance(x, y)),
        (normal(6, 3), normal(5, 3)),
    ),
    "inverse_depth_of": lambda: (
        lambda costs: geometry.inverse_depth_of(costs, torch.linspace(0.1, 1, 5, dtype=torch.float64)),
        (uniform(5, 2, 3),),
    ),
    "semi_global": lambda: (lambda costs: geometry.semi_global(costs, 0.1, 0.3), (uniform(4, 3, 5),)),
    "sweep_costs": lambda: frames(lambda c, depth, rgb: geometry.sweep_costs(rgb[1:], c[1:], c[0], PLANES, own=rgb[0])),
    "sweep_view": lambda: frames(lambda c, depth, rgb: geometry.sweep_view(rgb[1:], c[1:], c[0], PLANES)),
    "warp_at_inverse_depth": lambda: frames(
        lambda c, depth, rgb: geometry.warp_at_inverse_depth(rgb[1:], c[1:], c[0], 1 / depth[0])
    ),
    "forward_warp": lambda: frames(lambda c, depth, rgb: geometry.forward_warp(rgb[:2], depth[:2], c[:2], c[2])),
    "fuse_points": lambda: frames(lambda c, depth, rgb: geometry.fuse_points(rgb, depth, c, 1, 9.0, 0.9)[0]),
    "interpolate": interpolated,
    "orbit": lambda: (lambda pivot: geometry.orbit(pivot, 2.0, 20.0, 3), (normal(3),)),
    "points_from_depth": lambda: frames(lambda c, depth, rgb: geometry.points_from_depth(rgb, depth, c, None)),
    "render_mesh": rendered,
    "rotate_harmonics": lambda: (
        lambda values, q: geometry.rotate_harmonics(values, rotations(q)),
        (normal(2, 9, 3), turns()),
    ),
    "shade": shaded,
    "spherical_harmonics": lambda: (geometry.spherical_harmonics, (normal(2, 16, 3), normal(2, 3))),
    "vertex_normals": lambda: (
        lambda v: geometry.vertex_normals(Mesh(v, torch.tensor([[0, 1, 2], [1, 3, 2]]))),
        (normal(4, 3),),
    ),
    "voxel_downsample": lambda: (
        lambda points, colors, normals: geometry.voxel_downsample(PointCloud(points, colors, normals), 2.0),
        (normal(9, 3), uniform(9, 3), normal(9, 3)),
    ),
}


def numbers(result: Any) -> tuple[torch.Tensor, ...]:
    """All finite numbers of a result that depend on inputs."""
    if isinstance(result, torch.Tensor):
        wanted = result.is_floating_point() and result.requires_grad
        return (torch.where(result.isfinite(), result, 0.0),) if wanted else ()
    if is_dataclass(result):
        result = [getattr(result, field.name) for field in fields(result)]
    parts = result.values() if isinstance(result, dict) else result if isinstance(result, list | tuple) else ()
    return tuple(number for part in parts for number in numbers(part))


def check(case: Case) -> None:
    function, inputs = case
    inputs = tuple(value.detach().clone().requires_grad_() for value in inputs)
    assert numbers(function(*inputs)), "nothing depends on the inputs"

    def flat(*parts: torch.Tensor) -> torch.Tensor:
        return torch.cat([number.flatten() for number in numbers(function(*parts))])

    assert torch.autograd.gradcheck(flat, inputs, fast_mode=True, check_undefined_grad=False, atol=1e-4)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", BATCHED)
def test_gradients_are_those_of_finite_differences_in_any_batch(name, batch) -> None:
    check(BATCHED[name](batch))


@pytest.mark.parametrize("name", ALONE)
def test_gradients_are_those_of_finite_differences(name) -> None:
    check(ALONE[name]())


def test_every_public_function_is_checked_or_known_to_have_no_gradient(root) -> None:
    functions = {name for name in geometry.__all__ if inspect.isfunction(getattr(geometry, name))}
    known = [set(BATCHED) | set(ALONE), set(ELSEWHERE), NOT_DIFFERENTIABLE]
    assert functions - set().union(*known) == set(), "neither in a table nor among those without gradients"
    assert set().union(*known) - set(geometry.__all__) == set(), "not public (any more)"
    assert sum(map(len, known)) == len(set().union(*known)), "in two places"
    for name, file in ELSEWHERE.items():
        text = (root / f"tests/geometry/{file}.py").read_text()
        assert "gradcheck" in text and f"{name}(" in text, name
