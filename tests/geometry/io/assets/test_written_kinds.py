"""Writers and the kinds of value they are given: a file that reads back, or one line. Large coordinates too."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from geometry.errors import InputError
from geometry.gaussians.splats import Splats
from geometry.io.assets.gltf import MovingMesh, write_glb, write_moving_glb
from geometry.io.assets.gltf_reader import read_glb
from geometry.io.assets.obj import read_obj, write_obj
from geometry.io.assets.ply import read_ply, write_ply
from geometry.io.assets.splats import read_splats, write_splats
from geometry.io.assets.usd import write_usd
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import PointCloud
from tests.geometry.io.assets.test_gltf import card, cloud, color_bars, house

FAR = torch.tensor([512345.678, 5403210.987, 431.5], dtype=torch.float64)  # a map's metres


def some_splats(n: int = 4) -> Splats:
    return Splats(torch.randn(n, 3), torch.randn(n, 4), torch.rand(n, 3) + 0.1, torch.rand(n), torch.randn(n, 4, 3))


def stage_points(path: Path) -> torch.Tensor:
    """The points of the only part of a stage, in the world."""
    Gf, Usd, UsdGeom = (pytest.importorskip(f"pxr.{name}") for name in ("Gf", "Usd", "UsdGeom"))
    stage = Usd.Stage.Open(str(path))
    prim = stage.GetPrimAtPath("/World/world")
    name = "positions" if prim.GetTypeName() == "ParticleField3DGaussianSplat" else "points"
    matrix = UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(Usd.TimeCode.Default())
    world = [list(matrix.Transform(Gf.Vec3d(*map(float, point)))) for point in prim.GetAttribute(name).Get()]
    return torch.tensor(world, dtype=torch.float64)


def places(value: Any) -> torch.Tensor:
    match value:
        case TexturedMesh():
            return value.mesh.vertices[value.mesh.faces].reshape(-1, 3)
        case Mesh():
            return value.vertices[value.faces].reshape(-1, 3)
        case PointCloud():
            return value.points
        case Splats():
            return value.means
    return value


VALUES: dict[str, Callable[[], Any]] = {
    "Mesh": house,
    "Mesh without colors": lambda: house(colored=False),
    "TexturedMesh": lambda: card(color_bars()),
    "PointCloud": cloud,
    "Splats": some_splats,
    "empty mesh": lambda: Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long)),
    "mesh without faces": lambda: Mesh(torch.rand(3, 3), torch.zeros(0, 3, dtype=torch.long)),
    "list of meshes": lambda: [house(), house()],
    "tensor": lambda: torch.rand(4, 3),
}
WRITERS: dict[str, tuple[Callable[..., None], Callable[[Path], Any], set[str]]] = {
    "a.ply": (write_ply, read_ply, {"Mesh", "Mesh without colors", "TexturedMesh", "PointCloud"}),
    "a.glb": (write_glb, read_glb, {"Mesh", "Mesh without colors", "TexturedMesh", "PointCloud"}),
    "a.obj": (write_obj, read_obj, {"Mesh", "Mesh without colors", "TexturedMesh"}),
    "b.ply": (write_splats, read_splats, {"Splats"}),
    "a.splat": (write_splats, read_splats, {"Splats"}),
    "a.usda": (
        write_usd, stage_points,
        {"Mesh", "Mesh without colors", "TexturedMesh", "PointCloud", "Splats", "list of meshes"},
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::geometry.errors.Note")  # PLY has no textures
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_takes_every_kind_or_says_which_it_takes(name: str, kind: str, tmp_path: Path) -> None:
    write, read, taken = WRITERS[name]
    if name.endswith("usda"):
        pytest.importorskip("pxr.Usd")
    value = VALUES[kind]()
    if kind not in taken:
        with pytest.raises(InputError, match="expected") as caught:
            write(tmp_path / name, value)
        assert "\n" not in str(caught.value) and str(tmp_path / name) in str(caught.value)
        assert not list(tmp_path.iterdir())
        return
    write(tmp_path / name, value)
    if kind == "list of meshes":
        return
    back = read(tmp_path / name)
    wanted = value.mesh.vertices if name.endswith("usda") and kind == "TexturedMesh" else places(value)
    wanted = value.vertices if name.endswith("usda") and kind.startswith("Mesh") else wanted
    found = places(back).double()
    if name.endswith(".splat"):  # the largest first
        wanted = wanted[(value.scales.prod(-1) * value.opacities).argsort(descending=True)]
    assert torch.allclose(found, wanted.double(), atol=1e-6)
    if kind == "TexturedMesh" and name in ("a.glb", "a.obj"):
        assert torch.equal(back.texture, value.texture)
    if kind == "Mesh" and isinstance(back, Mesh):
        assert back.colors is not None and torch.allclose(back.colors, value.colors, atol=0.003)


def far(value: Any, size: float = 0.01) -> Any:
    """The same shape, of a centimetre, in a map."""

    def moved(points: torch.Tensor) -> torch.Tensor:
        return FAR + size * points.double()

    match value:
        case TexturedMesh():
            return replace(value, mesh=far(value.mesh, size))
        case Mesh():
            return replace(value, vertices=moved(value.vertices))
        case PointCloud():
            return replace(value, points=moved(value.points))
        case Splats():
            return replace(value.to(torch.float64), means=moved(value.means))


@pytest.mark.filterwarnings("ignore::geometry.errors.Note")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name, (*_, taken) in WRITERS.items()
        for kind in ("Mesh", "TexturedMesh", "PointCloud", "Splats")
        if kind in taken
    ],
)
def test_a_centimetre_in_a_map_keeps_its_shape_or_is_refused(name: str, kind: str, tmp_path: Path) -> None:
    write, read, _ = WRITERS[name]
    if name.endswith("usda"):
        pytest.importorskip("pxr.Usd")
    value = far(VALUES[kind]())
    if write is write_splats:
        with pytest.raises(InputError, match=r"5.40321e\+06 would move by up to 0.\d+ as float32; expected"):
            write(tmp_path / name, value)
        return
    write(tmp_path / name, value)
    found = places(read(tmp_path / name))
    assert found.dtype == torch.float64
    wanted = value.mesh.vertices if name.endswith("usda") and kind == "TexturedMesh" else places(value)
    wanted = value.vertices if name.endswith("usda") and kind == "Mesh" else wanted
    assert float((found - wanted).abs().max()) < 1e-6


@pytest.mark.parametrize("name", ["a.ply", "a.glb", "a.obj"])
def test_what_float32_holds_well_enough_stays_float32(name: str, tmp_path: Path) -> None:
    write, read, _ = WRITERS[name]
    write(tmp_path / name, replace(house(), vertices=house().vertices.double() / 3))
    assert read(tmp_path / name).vertices.dtype == torch.float32


@pytest.mark.parametrize("name", ["a.glb", "a.usda"])
def test_what_no_translation_helps_is_refused(name: str, tmp_path: Path, refused) -> None:
    if name.endswith("usda"):
        pytest.importorskip("pxr.Usd")
    corners = torch.eye(3).double() * 1e300
    with refused(tmp_path / name, "would move by up to inf", "stored_from_user"):
        WRITERS[name][0](tmp_path / name, Mesh(corners, torch.tensor([[0, 1, 2]])))
    assert not list(tmp_path.iterdir())


def test_moving_meshes_keep_their_places_in_a_map(tmp_path: Path) -> None:
    position = FAR + torch.tensor([[0.0, 0, 0], [0.01, 0, 0]]).double()
    turn = torch.tensor([[1.0, 0, 0, 0]]).expand(2, 4).double()
    write_moving_glb(tmp_path / "a.glb", [MovingMesh("a", house(), torch.tensor([0.0, 1.0]).double(), position, turn)])
    mesh = read_glb(tmp_path / "a.glb")
    assert isinstance(mesh, Mesh) and float((mesh.vertices - house().vertices - FAR).abs().max()) < 1e-6
