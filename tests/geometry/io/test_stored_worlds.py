"""Files in another world than the user's say so, and what is read is in the user's again, to the millimetre."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from geometry.errors import InputError
from geometry.gaussians.splats import Splats
from geometry.io.assets.gltf import write_glb
from geometry.io.assets.gltf_reader import read_glb
from geometry.io.assets.obj import read_obj, write_obj
from geometry.io.assets.ply import read_ply, write_ply
from geometry.io.assets.splats import read_splats, write_splats
from geometry.io.assets.usd import write_usd
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import PointCloud
from geometry.rotation.transforms import rotation_about
from geometry.similarity import Similarity

FAR = torch.tensor([431_000.0, 5_412_000.0, 320.0], dtype=torch.float64)  # a map's metres, which float32 cannot hold


def points() -> torch.Tensor:
    return FAR + 20 * torch.rand(9, 3, dtype=torch.float64)


def mesh(colors: bool = True) -> Mesh:
    faces = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    return Mesh(points(), faces, (torch.randint(0, 256, (9, 3)) / 255).float() if colors else None)


def textured() -> TexturedMesh:
    return TexturedMesh(mesh(False), torch.rand(9, 2), (torch.randint(0, 256, (3, 4, 4)) / 255).float())


def cloud() -> PointCloud:
    return PointCloud(points(), torch.rand(9, 3))


def gaussians() -> Splats:
    parts = (torch.randn(9, 4), torch.rand(9, 3) + 0.1, torch.rand(9), torch.randn(9, 4, 3))
    return Splats(points(), *(part.double() for part in parts))


def stored() -> Similarity:
    """Moved to the origin, turned, in centimetres."""
    turn = rotation_about(torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor(0.5).double())
    return Similarity(torch.tensor(100.0).double(), turn, -100 * (turn @ FAR))


def place(shape: Any) -> torch.Tensor:
    if isinstance(shape, TexturedMesh):
        shape = shape.mesh
    names = {Mesh: "vertices", PointCloud: "points", Splats: "means"}
    return getattr(shape, names[type(shape)])


CASES: list[tuple[str, Callable[[], Any], Callable[..., None], Callable[[Path], Any]]] = [
    ("a.ply", mesh, write_ply, read_ply),
    ("a.ply", cloud, write_ply, read_ply),
    ("a.glb", mesh, write_glb, read_glb),
    ("a.glb", textured, write_glb, read_glb),
    ("a.glb", cloud, write_glb, read_glb),
    ("a.obj", mesh, write_obj, read_obj),
    ("a.obj", textured, write_obj, read_obj),
    ("a.ply", gaussians, write_splats, read_splats),
]


@pytest.mark.parametrize(("name", "make", "write", "read"), CASES)
def test_what_is_read_is_where_the_user_had_it(name: str, make: Any, write: Any, read: Any, tmp_path: Path) -> None:
    shape = make()
    write(tmp_path / name, shape, stored_from_user=stored())
    found = read(tmp_path / name)
    assert type(found) is type(shape) and float((place(found) - place(shape)).abs().max()) < 1e-3
    if isinstance(shape, Splats):
        assert torch.allclose(found.scales, shape.scales, rtol=1e-5)
        wanted = shape.colors_from(FAR)
        assert float((found.colors_from(FAR) - wanted).abs().max()) < 1e-3


@pytest.mark.parametrize(("name", "make", "write", "read"), CASES)
def test_other_readers_see_the_stored_world_and_a_similarity_that_is_none_is_refused(
    name: str, make: Any, write: Any, read: Any, tmp_path: Path
) -> None:
    path = tmp_path / name
    write(path, make(), stored_from_user=stored())
    data = path.read_bytes()
    key = b"stored_from_user"
    assert data.count(key) == 1
    path.write_bytes(data.replace(key, b"Stored_from_user"))
    assert float(place(read(path)).norm(dim=-1).max()) < 5000  # centimetres from the middle
    path.write_bytes(data.replace(b'"scale"', b'"skale"'))
    with pytest.raises(InputError, match="expected scale"):
        read(path)


def test_splat_files_have_no_place_for_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected \.ply"):
        write_splats(tmp_path / "a.splat", gaussians(), stored_from_user=stored())
    assert not list(tmp_path.iterdir())


def test_a_usd_stage_keeps_it_with_its_layer(tmp_path: Path) -> None:
    usd = pytest.importorskip("pxr.Usd")
    write_usd(tmp_path / "a.usda", {"mesh": mesh(), "cloud": cloud()}, stored_from_user=stored())
    stage = usd.Stage.Open(str(tmp_path / "a.usda"))
    found = Similarity.from_json(json.loads(stage.GetRootLayer().customLayerData["stored_from_user"]))
    assert torch.equal(found.translation, stored().translation)
    seen = torch.tensor(stage.GetPrimAtPath("/World/mesh").GetAttribute("points").Get()).double()
    back = found.inverse().points(seen) - FAR
    assert float(back.min()) > -1e-3 and float(back.max()) < 20.001


@pytest.mark.parametrize(("name", "make", "write", "read"), CASES)
def test_a_name_may_be_a_string(name: str, make: Any, write: Any, read: Any, tmp_path: Path) -> None:
    shape = make()
    write(str(tmp_path / name), shape, stored_from_user=stored())
    assert type(read(str(tmp_path / name))) is type(shape)
