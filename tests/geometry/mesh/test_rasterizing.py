"""Meshes as cameras see them."""

import math
from pathlib import Path

import pytest
import torch
import trimesh
from safetensors.torch import load_file

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.projection import project
from geometry.camera.rays import ray_map
from geometry.conventions import linear_from_srgb
from geometry.mesh import rasterizing as rasterizing
from geometry.mesh.meshes import Mesh
from geometry.mesh.rasterizing import interpolate, rasterize, render_mesh, shade
from geometry.rotation.transforms import look_at, rigid
from geometry.trajectory.paths import orbit


def soup(triangles: int, seed: int, spread: float = 1.5) -> Mesh:
    """Random colored triangles around the origin, facing anywhere."""
    random = torch.Generator().manual_seed(seed)
    corners = torch.randn(triangles, 1, 3, generator=random, dtype=torch.float64) * spread
    corners = corners + torch.randn(triangles, 3, 3, generator=random, dtype=torch.float64)
    colors = torch.rand(triangles * 3, 3, generator=random, dtype=torch.float64)
    return Mesh(corners.reshape(-1, 3), torch.arange(triangles * 3).reshape(-1, 3), colors)


def around(radius: float, count: int = 3, hw: tuple[int, int] = (24, 32)) -> Cameras:
    poses = orbit(torch.zeros(3, dtype=torch.float64), radius, 20.0, count)
    cameras = Cameras.from_fov(poses, 60.0, hw)
    cameras.K[:, 0, 2] += 3.3
    cameras.K[:, 0, 1] = 2.0
    return cameras


def cast(mesh: Mesh, cameras: Cameras, near: float) -> tuple[torch.Tensor, torch.Tensor]:
    """z-depth and face of the first hit of every ray by solving o + s d = a + u (b - a) + v (c - a), pixel by pixel."""
    origin, direction = ray_map(cameras)
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    system = torch.stack(
        torch.broadcast_tensors(-direction[..., None, :], (b - a)[None, None, None], (c - a)[None, None, None]), -1
    )
    s, u, v = torch.linalg.solve(system, origin[..., None, :] - a).unbind(-1)
    z = s * (direction * cameras.forward[:, None, None]).sum(-1)[..., None]
    hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (z >= near)
    depth, face = torch.where(hit, z, torch.full_like(z, torch.inf)).min(-1)
    return depth[:, None], torch.where(depth.isinf(), -1, face)[:, None]


def test_depth_faces_and_weights_are_those_of_pytorch3d_and_open3d(shared: Path) -> None:
    golden = load_file(shared / "golden" / "mesh_raster.safetensors")
    mesh = Mesh(golden["vertices"], golden["faces"].long())
    pose = golden["w2c"].double()
    rotation = pose[:, :3, :3]  # of single precision: its center is solved for, that w2c comes back to the digit
    center = -torch.linalg.solve(rotation, pose[:, :3, 3])
    cameras = Cameras(rigid(rotation.mT, center), golden["K"].double(), (96, 128))
    raster = rasterize(mesh, cameras)
    agree, face = golden["all_agree"], raster.face[:, 0]
    assert torch.equal(face[agree], golden["pytorch3d_face"].long()[agree])
    assert (face != golden["pytorch3d_face"]).sum() <= 1 and (face != golden["open3d_primitive"]).sum() <= 1
    assert torch.equal(raster.depth.isinf(), raster.face < 0)
    hit = agree & (face >= 0)
    depth, weights = raster.depth[:, 0], raster.weights.movedim(1, -1)
    assert (depth - golden["pytorch3d_zbuf"])[hit].abs().max() < 7e-6
    assert (depth - golden["open3d_t_hit"])[hit].abs().max() < 2e-5
    assert (weights - golden["pytorch3d_barycentric"])[hit].abs().max() < 1.2e-4  # theirs are in single precision
    assert (weights[..., 1:] - golden["open3d_uv"])[hit].abs().max() < 2.5e-4


@pytest.mark.parametrize(("radius", "near"), [(6.0, 0.01), (1.0, 0.01), (1.0, 0.4), (0.01, 0.01)])
def test_every_pixel_is_what_its_ray_meets_also_among_triangles_that_reach_behind_the_camera(radius, near) -> None:
    for seed in range(3):
        mesh, cameras = soup(40, seed), around(radius)
        raster = rasterize(mesh, cameras, near)
        depth, face = cast(mesh, cameras, near)
        assert torch.equal(raster.face, face)
        assert torch.allclose(raster.depth, depth, rtol=1e-9)
        if radius > 1:
            continue
        behind = (mesh.vertices - cameras.centers[:, None]) @ cameras.forward[..., None] < near
        crossing = behind[:, mesh.faces, 0].any(-1) & ~behind[:, mesh.faces, 0].all(-1)
        assert any(crossing[i][face[i][face[i] >= 0]].any() for i in range(len(cameras)))  # the case is there


def test_weights_give_back_the_point_that_the_pixel_shows() -> None:
    mesh, cameras = soup(30, 1), around(5.0)
    raster = rasterize(mesh, cameras)
    hit = raster.face[:, 0] >= 0
    assert 0.2 < hit.double().mean() < 1
    assert torch.allclose(raster.weights.sum(1), hit.double())
    points = interpolate(raster, mesh, mesh.vertices).flatten(-2).mT
    uv, z = project(cameras, points)
    where = torch.stack(torch.meshgrid(torch.arange(24) + 0.5, torch.arange(32) + 0.5, indexing="ij")[::-1], -1)
    assert torch.allclose(uv.unflatten(1, (24, 32))[hit], where.double().expand(3, -1, -1, -1)[hit])
    assert torch.allclose(z.unflatten(1, (24, 32))[hit], raster.depth[:, 0][hit])


def test_a_closed_surface_has_no_holes_and_no_pixel_depends_on_chunks_or_batches(monkeypatch) -> None:
    ball = trimesh.creation.icosphere(subdivisions=4, radius=1.0)
    mesh = Mesh(torch.tensor(ball.vertices), torch.tensor(ball.faces))
    inside = Cameras.from_fov(look_at(torch.tensor([[0.1, 0.2, 0.0]]), torch.tensor([[1.0, 0, 0]])), 100.0, (64, 64))
    assert bool((rasterize(mesh, inside).face >= 0).all())  # seen from behind
    mesh, cameras = soup(40, 3), around(1.0, 4)
    whole = rasterize(mesh, cameras.reshape(2, 2))
    monkeypatch.setattr(rasterizing, "_CHUNK", 97)
    for i in range(4):
        one = rasterize(mesh, cameras[i])
        for name, channels in (("depth", 1), ("face", 1), ("weights", 3)):
            value = getattr(whole, name)
            assert value.shape == (2, 2, channels, 24, 32)
            assert torch.equal(value[i // 2, i % 2], getattr(one, name))
    assert rasterize(mesh, cameras[:0]).depth.shape == (0, 1, 24, 32)
    empty = rasterize(Mesh(mesh.vertices, mesh.faces[:0]), cameras)
    assert bool(empty.depth.isinf().all()) and bool((empty.face == -1).all()) and not empty.weights.any()


def test_depth_and_weights_are_differentiable_in_the_vertices_and_the_poses() -> None:
    mesh, cameras = soup(6, 4, 0.3), around(2.5, 2, (5, 6))
    hit = rasterize(mesh, cameras).face >= 0
    assert 5 < hit.sum() < hit.numel()
    rotation = cameras.world_from_camera[:, :3, :3]

    def values(vertices: torch.Tensor, centers: torch.Tensor) -> tuple[torch.Tensor, ...]:
        moved = Cameras(rigid(rotation, centers), cameras.K, cameras.hw)
        raster = rasterize(Mesh(vertices, mesh.faces), moved)
        return raster.depth[hit], raster.weights[hit.expand_as(raster.weights)]

    inputs = (mesh.vertices.requires_grad_(), cameras.centers.clone().requires_grad_())
    assert torch.autograd.gradcheck(values, inputs)


def test_colors_are_mixed_in_linear_light_before_the_background() -> None:
    corners = torch.tensor([[-1.0, -1.0, 2.0], [1.0, -1.0, 2.0], [0.0, 1.0, 2.0]])
    mesh = Mesh(corners, torch.tensor([[0, 2, 1]]), torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 0.0], [0.0, 0.5, 0.0]]))
    cameras = Cameras.from_fov(torch.eye(4)[None], 90.0, (40, 40))
    back = torch.tensor([0.1, 0.2, 0.3])
    rgb, depth = render_mesh(mesh, cameras, back)
    hit = depth[:, 0].isfinite()
    assert abs(int(hit.sum()) - 200) <= 20  # half of 20 x 20 pixels
    assert torch.allclose(rgb[:, :, 0, 0], back)
    raster = rasterize(mesh, cameras)
    assert torch.allclose(linear_from_srgb(rgb[:, 0][hit]), raster.weights[:, 0][hit], atol=1e-6)
    assert torch.allclose(rgb[:, 1][hit], torch.tensor(0.5)) and torch.allclose(depth[:, 0][hit], torch.tensor(2.0))
    assert rgb.dtype == depth.dtype == torch.float32


def test_what_cannot_be_rasterized_is_refused(refused, unchecked) -> None:
    mesh, cameras = soup(2, 0), around(4.0)
    fisheye = Cameras(cameras.world_from_camera, cameras.K, (24, 32), lens=Lens.of(LensKind.FISHEYE, torch.zeros(3, 0)))
    with refused("rasterizing", "FISHEYE"):
        rasterize(mesh, fisheye)
    for near in (0.0, -1.0, math.nan):
        with refused("near plane", near):
            rasterize(mesh, cameras, near)
    with refused("NaN"):
        rasterize(Mesh(mesh.vertices * torch.nan, mesh.faces), cameras)
    with refused("without colors"):
        shade(rasterize(mesh, cameras), Mesh(mesh.vertices, mesh.faces))
