"""USD stages, judged by USD's own validators and cameras."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.projection import project
from geometry.conventions import linear_from_srgb
from geometry.errors import InputError
from geometry.gaussians.splats import Splats
from geometry.io.assets.gltf import MovingMesh
from geometry.io.assets.usd import _intrinsics, write_usd
from geometry.mesh.meshes import Mesh
from geometry.points.pointclouds import PointCloud
from tests.geometry.camera.test_cameras import some_cameras
from tests.geometry.io.assets.test_gltf import cloud, house

HW = (30, 50)


def pxr(*names: str) -> list[Any]:
    return [pytest.importorskip(f"pxr.{name}") for name in names]


def some_splats(n: int = 7) -> Splats:
    return Splats(torch.randn(n, 3), torch.randn(n, 4), torch.rand(n, 3) + 0.1, torch.rand(n), torch.randn(n, 9, 3))


def plain_cameras(times: bool) -> Cameras:
    drawn = some_cameras((3,), HW, 4)
    K = drawn.K.clone()
    K[:, 0, 1] = 0
    return Cameras(drawn.world_from_camera, K, HW, time_s=times * torch.arange(3).double())


def moving() -> MovingMesh:
    return MovingMesh("wedge", house(), torch.tensor([0.0, 0.5]), torch.randn(2, 3), torch.randn(2, 4))


def everything() -> dict:
    bending = [Mesh(house().vertices * (1 + 0.1 * n), house().faces, house().colors) for n in range(3)]
    return {
        "mesh": house(), "bending": bending, "moving": moving(), "cloud": cloud(), "splats": some_splats(),
        "path": plain_cameras(True), "stills": plain_cameras(False),
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".usda", ".usdc", ".usdz"])
def test_the_validators_of_usd_find_nothing(suffix: str, tmp_path: Path) -> None:
    validation, Usd, UsdGeom = pxr("UsdValidation", "Usd", "UsdGeom")

    write_usd(tmp_path / f"a{suffix}", everything(), fps=10.0)
    stage = Usd.Stage.Open(str(tmp_path / f"a{suffix}"))
    every = validation.ValidationRegistry().GetOrLoadAllValidators()
    errors = validation.ValidationContext(every).Validate(stage)
    assert len(every) > 20 and [error.GetMessage() for error in errors] == []
    assert UsdGeom.GetStageUpAxis(stage) == "Z" and UsdGeom.GetStageMetersPerUnit(stage) == 1
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode(), stage.GetTimeCodesPerSecond()) == (0, 20, 10)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_shapes_are_what_they_were_and_their_colors_linear(tmp_path: Path) -> None:
    Usd, UsdGeom, UsdVol = pxr("Usd", "UsdGeom", "UsdVol")

    parts = everything()
    write_usd(tmp_path / "a.usdc", parts, fps=10.0)
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/World/mesh"))
    assert torch.equal(torch.tensor(mesh.GetPointsAttr().Get()), house().vertices)
    assert torch.tensor(mesh.GetFaceVertexIndicesAttr().Get()).view(-1, 3).tolist() == house().faces.tolist()
    light = torch.tensor(mesh.GetDisplayColorAttr().Get())
    colors = house().colors
    assert colors is not None and torch.equal(light, linear_from_srgb(colors))
    bending = UsdGeom.Mesh(stage.GetPrimAtPath("/World/bending"))
    assert torch.equal(torch.tensor(bending.GetPointsAttr().Get(2.0)), parts["bending"][2].vertices)
    assert torch.equal(torch.tensor(bending.GetExtentAttr().Get(2.0))[1], parts["bending"][2].vertices.amax(0))
    place = UsdGeom.Xformable(stage.GetPrimAtPath("/World/moving")).ComputeLocalToWorldTransform(5.0)
    assert torch.allclose(torch.tensor(place.ExtractTranslation()).float(), parts["moving"].position[1])
    found = UsdVol.ParticleField3DGaussianSplat(stage.GetPrimAtPath("/World/splats"))
    harmonics = torch.tensor(found.GetRadianceSphericalHarmonicsCoefficientsAttr().Get()).view(7, 9, 3)
    assert torch.equal(harmonics, parts["splats"].harmonics)
    assert found.GetRadianceSphericalHarmonicsDegreeAttr().Get() == 2


@pytest.mark.parametrize("times", [True, False])
def test_cameras_of_usd_see_each_point_where_ours_do(times: bool, tmp_path: Path) -> None:
    Gf, Usd, UsdGeom = pxr("Gf", "Usd", "UsdGeom")

    cameras = plain_cameras(times)
    write_usd(tmp_path / "a.usda", {"c": cameras}, fps=10.0)
    stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
    for n in range(3):
        at, code = ("/World/c", Usd.TimeCode(10.0 * n)) if times else (f"/World/c/camera_{n:04d}", Usd.TimeCode(0))
        frustum = UsdGeom.Camera(stage.GetPrimAtPath(at)).GetCamera(code).frustum
        points = cameras[n].centers + (cameras[n].world_from_camera[:3, :3] @ torch.rand(3, 9).double().add(0.2)).T
        uv, _ = project(cameras[n], points)
        seen = frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix()
        for point, pixel in zip(points.tolist(), uv):
            x, y, _ = seen.Transform(Gf.Vec3d(*point))
            assert torch.allclose(pixel, torch.tensor([(x + 1) * HW[1] / 2, (1 - y) * HW[0] / 2]).double(), atol=2e-4)


def test_what_usd_can_not_hold_is_refused(tmp_path: Path) -> None:
    pxr("Usd")
    fisheye = Cameras.from_fov(torch.eye(4)[None], 90.0, HW, Lens.of(LensKind.FISHEYE, torch.zeros(1, 1)))
    bad = house().vertices.clone()
    bad[0, 0] = torch.nan
    for name, parts, words in (
        ("a.usd", {"1st": house()}, "no digit first"),
        ("a.fbx", {"a": house()}, "suffix"),
        ("a.usd", {"a": Mesh(bad, house().faces)}, "NaN"),
        ("a.usd", {"a": [house(), Mesh(house().vertices, house().faces[:1])]}, "same faces"),
        ("a.usd", {"a": PointCloud(torch.zeros(0, 3), torch.zeros(0, 3))}, "0 points"),
        ("a.usd", {"c": fisheye}, "FISHEYE"),
        ("a.usd", {}, "0 parts"),
    ):
        with pytest.raises(InputError, match=words):
            write_usd(tmp_path / name, parts)
    assert list(tmp_path.iterdir()) == []


def test_without_the_library_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pxr", None)
    monkeypatch.setitem(sys.modules, "pxr.Usd", None)
    with pytest.raises(InputError, match=r"pip install 'worldgen\[usd\]'"):
        write_usd(tmp_path / "a.usda", {"a": house()})


class Sensor:
    """What is set of a USD camera, by name, where the library is not installed."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        key = name.removeprefix("Create").removesuffix("Attr")
        return lambda: SimpleNamespace(Set=lambda value, _: self.values.update({key: value}))


def test_a_sensor_s_edges_are_where_the_rays_of_the_image_s_edges_meet_it() -> None:
    """Aperture and offset over the focal length are tangents: right and up are positive, and v points down."""
    sensor = Sensor()
    _intrinsics(sensor, [[50.0, 0.0, 20.0], [0.0, 40.0, 9.0], [0.0, 0.0, 1.0]], (30, 64), None)
    focal = sensor.values["FocalLength"]
    for name, low, high in (("Horizontal", -20 / 50, (64 - 20) / 50), ("Vertical", -(30 - 9) / 40, 9 / 40)):
        half, offset = sensor.values[f"{name}Aperture"] / 2, sensor.values[f"{name}ApertureOffset"]
        assert [(offset - half) / focal, (offset + half) / focal] == pytest.approx([low, high])
