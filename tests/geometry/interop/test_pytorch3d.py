"""What PyTorch3D is given and what its answers become, by a stand-in; by PyTorch3D itself where it is installed."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from geometry.camera.cameras import Cameras
from geometry.interop.pytorch3d import (
    from_pytorch3d_cameras,
    from_pytorch3d_meshes,
    from_pytorch3d_points,
    rasterize_pytorch3d,
    to_pytorch3d_cameras,
    to_pytorch3d_meshes,
    to_pytorch3d_points,
)
from geometry.mesh.meshes import Mesh
from geometry.mesh.rasterizing import rasterize
from geometry.points.pointclouds import PointCloud
from geometry.rotation.transforms import invert_rigid
from tests.geometry.camera.test_cameras import cameras_from_golden, some_cameras
from tests.geometry.mesh.test_rasterizing import around, soup


class PerspectiveCameras(SimpleNamespace):
    def in_ndc(self) -> bool:
        return getattr(self, "_in_ndc", True)


class TexturesVertex:
    def __init__(self, verts_features: list[torch.Tensor]) -> None:
        self.verts_features_list = lambda: verts_features


class Meshes:
    def __init__(self, verts: list[torch.Tensor], faces: list[torch.Tensor], textures: Any = None) -> None:
        self.verts_list, self.faces_list, self.textures = lambda: verts, lambda: faces, textures


class Pointclouds:
    def __init__(
        self,
        points: list[torch.Tensor],
        normals: list[torch.Tensor] | None = None,
        features: list[torch.Tensor] | None = None,
    ) -> None:
        self.points_list, self.normals_list, self.features_list = lambda: points, lambda: normals, lambda: features


class MeshRasterizer:
    answer: SimpleNamespace
    given: tuple[Any, ...] = ()

    def __init__(self, cameras: Any, raster_settings: Any) -> None:
        self.setup = (cameras, raster_settings)

    def __call__(self, meshes: Meshes) -> SimpleNamespace:
        type(self).given = (*self.setup, meshes)
        return self.answer


@pytest.fixture
def stand_in(monkeypatch) -> ModuleType:
    """A module with PyTorch3D's names that keeps what it is given."""
    renderer, structures = ModuleType("pytorch3d.renderer"), ModuleType("pytorch3d.structures")
    for value in (PerspectiveCameras, TexturesVertex, MeshRasterizer):
        setattr(renderer, value.__name__, value)
    vars(renderer)["RasterizationSettings"] = SimpleNamespace
    vars(structures).update(Meshes=Meshes, Pointclouds=Pointclouds)
    for module in (ModuleType("pytorch3d"), renderer, structures):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return renderer


def unskewed(*batch: int) -> Cameras:
    cameras = some_cameras(batch, (30, 50), 3)
    cameras.K[..., 0, 1] = 0
    return cameras


def test_its_cameras_are_given_the_numbers_that_pytorch3d_makes_of_the_same_cameras(stand_in, shared: Path) -> None:
    golden = load_file(shared / "golden" / "cameras.safetensors")
    theirs = load_file(shared / "golden" / "cameras_pytorch3d.safetensors")
    for n in range(len(golden["w2c"])):
        given = to_pytorch3d_cameras(cameras_from_golden(golden, n))
        names = {"R": "R", "T": "T", "focal_length": "focal_ndc", "principal_point": "principal_ndc"}
        assert set(vars(given)) == {*names, "image_size", "device"}
        for ours, name in names.items():
            value = getattr(given, ours)
            assert value.dtype == torch.float32 and torch.allclose(value, theirs[name][n][None].float(), atol=1e-6)
        assert given.image_size.tolist() == [golden["image_hw"][n].tolist()]


def test_cameras_come_back(stand_in, refused) -> None:
    cameras = unskewed(2, 3)
    given, flat = to_pytorch3d_cameras(cameras), cameras.reshape(6)
    back = from_pytorch3d_cameras(given)
    assert back.hw == (30, 50) and torch.allclose(back.K.double(), flat.K, atol=1e-4)
    assert torch.allclose(back.world_from_camera.double(), flat.world_from_camera, atol=1e-5)
    focal, middle = torch.full((6,), 40.0), torch.full((6, 2), 15.0)
    in_pixels = PerspectiveCameras(R=given.R, T=given.T, focal_length=focal, principal_point=middle, _in_ndc=False)
    wanted = torch.tensor([[40.0, 0, 15], [0, 40, 15], [0, 0, 1]]).expand(6, 3, 3)
    assert torch.allclose(from_pytorch3d_cameras(in_pixels, (30, 50)).K, wanted)
    with refused("image_size", "hw"):
        from_pytorch3d_cameras(in_pixels)
    with refused("PerspectiveCameras"):
        from_pytorch3d_cameras(PerspectiveCameras(**vars(given), K=torch.eye(4)))
    with refused("FoVCameras", "PerspectiveCameras"):
        from_pytorch3d_cameras(type("FoVCameras", (), {"K": None})())
    with refused("PyTorch3D", "skewed"):
        to_pytorch3d_cameras(around(3.0))


def test_meshes_and_points_come_back_with_and_without_colors(stand_in, refused) -> None:
    meshes = [soup(4, 0), soup(7, 1)]
    bare = [Mesh(mesh.vertices, mesh.faces) for mesh in meshes]
    for ours in (meshes, bare):
        for mesh, back in zip(ours, from_pytorch3d_meshes(to_pytorch3d_meshes(ours)), strict=True):
            assert torch.equal(back.vertices, mesh.vertices.float()) and torch.equal(back.faces, mesh.faces)
            if mesh.colors is None or back.colors is None:
                assert mesh.colors is back.colors is None
            else:
                assert torch.equal(back.colors, mesh.colors.float())
    with refused("1 of 2", "all or none"):
        to_pytorch3d_meshes([meshes[0], bare[1]])
    with refused("TexturesVertex"):
        from_pytorch3d_meshes(Meshes([bare[0].vertices], [bare[0].faces], textures="an atlas"))
    clouds = [PointCloud(mesh.vertices, mesh.vertices.abs()) for mesh in meshes]
    for cloud, back in zip(clouds, from_pytorch3d_points(to_pytorch3d_points(clouds)), strict=True):
        assert torch.equal(back.points, cloud.points.float()) and torch.equal(back.colors, cloud.colors.float())
    oriented = [replace(cloud, normals=cloud.points) for cloud in clouds]
    for cloud, back in zip(oriented, from_pytorch3d_points(to_pytorch3d_points(oriented)), strict=True):
        assert back.normals is not None and torch.equal(back.normals, cloud.points.float())
    with refused("1 of 2 point clouds with normals"):
        to_pytorch3d_points([oriented[0], clouds[1]])
    (gray,) = from_pytorch3d_points(Pointclouds([meshes[0].vertices]))
    assert bool((gray.colors == 0.7).all())


def test_its_raster_becomes_ours(stand_in, shared: Path, monkeypatch) -> None:
    golden = load_file(shared / "golden" / "mesh_raster.safetensors")
    face, faces = golden["pytorch3d_face"].long(), len(golden["faces"])
    packed = torch.where(face >= 0, face + faces * torch.arange(4)[:, None, None], face)
    answer = SimpleNamespace(
        pix_to_face=packed[..., None],
        zbuf=golden["pytorch3d_zbuf"][..., None],
        bary_coords=golden["pytorch3d_barycentric"][..., None, :],
    )
    monkeypatch.setattr(MeshRasterizer, "answer", answer, raising=False)
    mesh = Mesh(golden["vertices"], golden["faces"].long())
    cameras = Cameras(invert_rigid(golden["w2c"].double()), golden["K"].double(), (96, 128)).reshape(2, 2)
    theirs, ours = rasterize_pytorch3d(mesh, cameras, 0.02), rasterize(mesh, cameras, 0.02)
    assert torch.equal(theirs.face, ours.face) and torch.equal(theirs.depth.isinf(), ours.depth.isinf())
    hit = ours.face >= 0
    assert (theirs.depth - ours.depth)[hit].abs().max() < 2e-5
    assert (theirs.weights - ours.weights).abs().max() < 3e-4
    given, settings, meshes = MeshRasterizer.given
    assert len(given.R) == len(meshes.verts_list()) == 4 and settings.image_size == (96, 128)
    assert (settings.z_clip_value, settings.blur_radius, settings.faces_per_pixel) == (0.02, 0.0, 1)
    assert settings.perspective_correct and not settings.cull_backfaces and not settings.clip_barycentric_coords


def test_without_pytorch3d_one_line_says_how_to_get_it(monkeypatch, refused) -> None:
    for name in ("pytorch3d", "pytorch3d.renderer", "pytorch3d.structures"):
        monkeypatch.setitem(sys.modules, name, None)
    mesh, cameras = soup(2, 0), unskewed(1)
    for call in (
        lambda: to_pytorch3d_cameras(cameras),
        lambda: to_pytorch3d_meshes([mesh]),
        lambda: to_pytorch3d_points([PointCloud(mesh.vertices, mesh.vertices)]),
        lambda: rasterize_pytorch3d(mesh, cameras),
    ):
        with refused("PyTorch3D cannot be loaded", "conda env create --file environment.yml"):
            call()


def test_pytorch3d_itself_takes_and_gives_back_what_the_stand_in_does() -> None:
    pytest.importorskip("pytorch3d")
    cameras, mesh = unskewed(3), soup(5, 0)
    back = from_pytorch3d_cameras(to_pytorch3d_cameras(cameras))
    assert back.hw == cameras.hw and torch.allclose(back.K.double(), cameras.K, atol=1e-4)
    assert torch.allclose(back.world_from_camera.double(), cameras.world_from_camera, atol=1e-5)
    (same,) = from_pytorch3d_meshes(to_pytorch3d_meshes([mesh]))
    assert same.colors is not None and mesh.colors is not None
    assert torch.equal(same.vertices, mesh.vertices.float()) and torch.equal(same.colors, mesh.colors.float())
    (cloud,) = from_pytorch3d_points(to_pytorch3d_points([PointCloud(mesh.vertices, mesh.colors)]))
    assert torch.equal(cloud.points, mesh.vertices.float()) and torch.equal(cloud.colors, mesh.colors.float())


@pytest.mark.parametrize("radius", [6.0, 1.0])
def test_pytorch3d_itself_sees_what_our_rasterizer_sees(radius) -> None:
    pytest.importorskip("pytorch3d")
    mesh, cameras = soup(40, 1), around(radius)
    cameras.K[:, 0, 1] = 0
    theirs, ours = rasterize_pytorch3d(mesh, cameras), rasterize(mesh, cameras)
    same = theirs.face == ours.face
    assert same.double().mean() > 0.997
    hit = same & (ours.face >= 0)
    assert torch.allclose(theirs.depth[hit], ours.depth[hit], rtol=1e-4, atol=1e-4)
