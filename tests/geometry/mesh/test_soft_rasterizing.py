"""Soft images of meshes."""

import math

import pytest
import torch
import trimesh

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.conventions import linear_from_srgb
from geometry.mesh import rasterizing as rasterizing
from geometry.mesh.meshes import Mesh
from geometry.mesh.rasterizing import rasterize, render_mesh
from geometry.mesh.soft_rasterizing import soft_render_mesh, soft_silhouette
from geometry.rotation.transforms import rigid
from geometry.trajectory.paths import orbit
from tests.geometry.mesh.test_rasterizing import around, soup

AHEAD = Cameras.from_fov(torch.eye(4, dtype=torch.float64)[None], 90.0, (40, 60))  # z = 1: 20 pixels a metre


def flat(corners: list[list[float]], colors: list[list[float]] | None = None) -> Mesh:
    vertices = torch.tensor(corners, dtype=torch.float64)
    values = None if colors is None else torch.tensor(colors, dtype=torch.float64)
    return Mesh(vertices, torch.arange(len(vertices)).reshape(-1, 3), values)


def ball(radius: float | torch.Tensor, center: torch.Tensor, subdivisions: int = 2) -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions=subdivisions, radius=1.0)
    return Mesh(torch.tensor(sphere.vertices) * radius + center, torch.tensor(sphere.faces))


@pytest.mark.parametrize("sigma", [1e-3, 1e-2])
def test_across_an_edge_coverage_is_the_sigmoid_of_the_squared_distance(sigma) -> None:
    # Left of the column of 30 pixels, far beyond the image elsewhere.
    mesh = flat([[0.0, -50.0, 1.0], [0.0, 50.0, 1.0], [-50.0, 0.0, 1.0]])
    seen = soft_silhouette(mesh, AHEAD, sigma)[0, 0, 20]
    distance = (30 - torch.arange(60) - 0.5).double() / 20
    wanted = torch.sigmoid(distance.sign() * distance**2 / sigma)
    assert torch.allclose(seen, torch.where(wanted < 1e-6, 0, wanted), atol=1e-6)


def test_triangles_cover_independently() -> None:
    mesh, cameras = soup(6, 0), around(6.0)
    single = [soft_silhouette(Mesh(mesh.vertices, mesh.faces[i : i + 1]), cameras, 1e-3) for i in range(6)]
    bare = torch.stack([1 - one for one in single]).prod(0)
    assert torch.allclose(soft_silhouette(mesh, cameras, 1e-3), 1 - bare, atol=1e-9)


def test_colors_are_the_papers_mean_over_depths() -> None:
    def wall(z: float) -> list[list[float]]:
        return [[-50 * z, -50 * z, z], [50 * z, -50 * z, z], [0.0, 50 * z, z]]

    mesh = flat(wall(2.0) + wall(3.0), [[1.0, 0.0, 0.0]] * 3 + [[0.0, 1.0, 0.0]] * 3)
    for gamma in (1.0, 0.1):
        light = linear_from_srgb(soft_render_mesh(mesh, AHEAD, 1e-4, gamma)[0, :, 20, 30])
        front = 1 / (1 + math.exp((2 / 3 - 1) / gamma))
        assert torch.allclose(light, torch.tensor([front, 1 - front, 0.0], dtype=torch.float64), atol=1e-6)


def test_where_softness_vanishes_a_soft_image_is_the_hard_one() -> None:
    mesh, cameras, back = soup(20, 5), around(7.0, hw=(40, 56)), torch.tensor([0.2, 0.4, 0.6])
    rgb, depth = render_mesh(mesh, cameras, back)
    soft = soft_render_mesh(mesh, cameras, 1e-9, 1e-5, back)
    off = (soft - rgb).abs().amax(1, keepdim=True) > 1e-5
    assert off.double().mean() < 0.002  # pixels whose center is all but on an edge
    cover = soft_silhouette(mesh, cameras, 1e-9)
    assert ((cover - depth.isfinite().double()).abs() > 1e-5).double().mean() < 0.002


def test_pixels_depend_neither_on_chunks_nor_on_batches(monkeypatch) -> None:
    mesh, cameras = soup(12, 3), around(6.0, 4)
    cover, rgb = soft_silhouette(mesh, cameras.reshape(2, 2), 1e-3), soft_render_mesh(mesh, cameras.reshape(2, 2), 1e-3)
    assert cover.shape == (2, 2, 1, 24, 32) and rgb.shape == (2, 2, 3, 24, 32)
    monkeypatch.setattr(rasterizing, "_CHUNK", 97)
    for i in range(4):
        assert torch.allclose(cover[i // 2, i % 2], soft_silhouette(mesh, cameras[i], 1e-3), atol=1e-12)
        assert torch.allclose(rgb[i // 2, i % 2], soft_render_mesh(mesh, cameras[i], 1e-3), atol=1e-12)
    assert soft_render_mesh(mesh, cameras[:0]).shape == (0, 3, 24, 32)
    nothing = Mesh(mesh.vertices, mesh.faces[:0], mesh.colors)
    assert not soft_silhouette(nothing, cameras).any() and not soft_render_mesh(nothing, cameras).any()


def test_gradients_are_exact_in_vertices_colors_and_poses() -> None:
    mesh, cameras = soup(3, 4, 0.6), around(3.0, 1, (5, 6))
    rotation = cameras.world_from_camera[:, :3, :3]
    assert mesh.colors is not None

    def values(
        vertices: torch.Tensor, colors: torch.Tensor, centers: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        moved = Cameras(rigid(rotation, centers), cameras.K, cameras.hw)
        new = Mesh(vertices, mesh.faces, colors)
        return soft_silhouette(new, moved, 0.05), soft_render_mesh(new, moved, 0.05, 0.1)

    cover, _ = values(mesh.vertices, mesh.colors, cameras.centers)
    assert ((cover > 0.05) & (cover < 0.95)).sum() > 3
    inputs = (mesh.vertices, mesh.colors, cameras.centers.clone())
    assert torch.autograd.gradcheck(values, [value.requires_grad_() for value in inputs])


def test_a_discs_area_grows_as_its_radius_squared() -> None:
    radius = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    cameras = around(3.0, 1)
    mesh = ball(radius, torch.zeros(3))
    soft = soft_silhouette(mesh, cameras, 1e-3).sum()
    (slope,) = torch.autograd.grad(soft, radius)
    assert abs(float(slope * radius.detach() / soft.detach()) / 2 - 1) < 0.25


def test_a_spheres_place_and_radius_are_found_from_its_silhouettes() -> None:
    cameras = Cameras.from_fov(orbit(torch.zeros(3, dtype=torch.float64), 4.0, 20.0, 2), 45.0, (32, 32))
    truth = torch.tensor([0.15, -0.1, 0.2])
    target = (rasterize(ball(0.8, truth, 3), cameras).face >= 0).double()
    center = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    radius = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([center, radius], lr=0.05)
    for step in range(80):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 80)
        optimizer.zero_grad()
        loss = (soft_silhouette(ball(radius, center), cameras, 2e-4) - target).square().mean()
        loss.backward()
        optimizer.step()
    quarter = 4.0 / float(cameras.K[0, 0, 0]) / 4  # of a pixel, in metres at the sphere
    assert (center - truth).abs().max() < quarter and abs(float(radius.detach()) - 0.8) < quarter


def test_what_has_no_soft_image_is_refused(refused, unchecked) -> None:
    mesh, cameras = soup(2, 0), around(4.0)
    for sigma in (0.0, -1.0, math.nan):
        with refused("soft silhouette", sigma):
            soft_silhouette(mesh, cameras, sigma)
    with refused("soft rendering", "0.0"):
        soft_render_mesh(mesh, cameras, gamma=0.0)
    with refused("without colors"):
        soft_render_mesh(Mesh(mesh.vertices, mesh.faces), cameras)
    fisheye = Cameras(cameras.world_from_camera, cameras.K, (24, 32), lens=Lens.of(LensKind.FISHEYE, torch.zeros(3, 0)))
    with refused("FISHEYE"):
        soft_silhouette(mesh, fisheye)
