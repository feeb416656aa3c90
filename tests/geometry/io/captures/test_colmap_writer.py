"""COLMAP models written are read again as they were, by us and by COLMAP."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.errors import InputError
from geometry.io.captures.colmap import ColmapModel, read_colmap
from geometry.io.captures.colmap_writer import colmap_model, write_colmap
from geometry.io.captures.posed import PosedImages
from geometry.similarity import Similarity
from tests.geometry.camera.test_cameras import some_cameras


def a_model(first: str = "a.png") -> ColmapModel:
    """Four images by three cameras, points with tracks."""
    torch.manual_seed(2)
    plain = some_cameras((4,), (30, 50), 2)
    K = plain.K.clone()
    K[:, 0, 1] = 0
    K[1] = K[0]
    kinds = torch.tensor([LensKind.PINHOLE, LensKind.PINHOLE, LensKind.FISHEYE, LensKind.OPENCV])
    coefficients = torch.zeros(4, 8, dtype=torch.float64)
    coefficients[2, :4], coefficients[3, :6] = torch.rand(4) / 10, torch.rand(6) / 10
    cameras = Cameras(plain.world_from_camera, K, plain.hw, lens=Lens(kinds, coefficients))
    model = colmap_model(
        cameras, [first, "b/2.png", "c.png", "d.png"], torch.randn(5, 3), torch.randint(0, 256, (5, 3)).byte()
    )
    uv = tuple(50 * torch.rand(n, 2, dtype=torch.float64) for n in (3, 0, 2, 1))
    seen = tuple(torch.tensor(points) for points in ([0, -1, 4], [], [4, 2], [0]))
    return replace(model, observed_uv=uv, observed=tuple(s.long() for s in seen))


def same(one: ColmapModel, other: ColmapModel, exact: float = 1e-12) -> bool:
    pairs = list(zip(one.images.frames, other.images.frames))
    return (
        len(one.images) == len(other.images)
        and all(a.file_path == b.file_path and a.hw == b.hw and torch.equal(a.K, b.K) for a, b in pairs)
        and all(torch.allclose(a.world_from_camera, b.world_from_camera, atol=exact) for a, b in pairs)
        and all((a.lens is None or int(a.lens.kind) == 0) == (b.lens is None) for a, b in pairs)
        and all(b.lens is None or torch.equal(a.lens.coefficients, b.lens.coefficients) for a, b in pairs if a.lens)
        and torch.equal(one.points, other.points)
        and torch.equal(one.colors, other.colors)
        and all(torch.equal(a, b) for a, b in zip(one.observed_uv, other.observed_uv))
        and all(torch.equal(a, b) for a, b in zip(one.observed, other.observed))
    )


@pytest.mark.parametrize("binary", [True, False])
def test_a_model_comes_back(binary: bool, tmp_path: Path) -> None:
    model = a_model()
    write_colmap(tmp_path / "model", model, binary)
    assert same(model, read_colmap(tmp_path / "model", need_images=False))
    assert len(list((tmp_path / "model").iterdir())) == 3 and [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_world_to_store_in_is_kept_beside_the_model_and_undone(tmp_path: Path) -> None:
    model = a_model()
    stored = Similarity.normalizing(model.points)
    images = replace(model.images, stored_from_user=stored)
    write_colmap(tmp_path / "model", replace(model, images=images))
    found = read_colmap(tmp_path / "model", need_images=False)
    assert torch.allclose(found.points, model.points) and torch.equal(found.images.stored_from_user.scale, stored.scale)
    places = [[frame.world_from_camera for frame in m.images.frames] for m in (model, found)]
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*places))
    (tmp_path / "model" / "stored_from_user.json").write_text('{"scale": 1}')
    with pytest.raises(InputError, match=r"stored_from_user\.json"):
        read_colmap(tmp_path / "model", need_images=False)
    (tmp_path / "model" / "stored_from_user.json").unlink()
    bare = read_colmap(tmp_path / "model", need_images=False).points
    assert torch.allclose(bare, stored.points(model.points)) and float(bare.norm(dim=-1).mean()) == pytest.approx(1)


@pytest.mark.parametrize("binary", [True, False])
def test_colmap_itself_reads_it_and_what_it_writes_is_the_same(binary: bool, tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    model = a_model()
    write_colmap(tmp_path / "ours", model, binary)
    theirs = pycolmap.Reconstruction(str(tmp_path / "ours"))
    assert (theirs.num_images(), theirs.num_cameras(), theirs.num_points3D()) == (4, 3, 5)
    (tmp_path / "again").mkdir()
    theirs.write(str(tmp_path / "again"))
    assert same(model, read_colmap(tmp_path / "again", need_images=False))


def test_a_real_model_is_unchanged_by_us_and_by_colmap(shared: Path, tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    found = next((shared / "data" / "colmap_ethiopian_head").rglob("images.*"), None)
    if found is None:
        pytest.skip("no COLMAP model here")
    model = read_colmap(found.parent, need_images=False)
    write_colmap(tmp_path / "ours", model)
    theirs = pycolmap.Reconstruction(str(tmp_path / "ours"))
    (tmp_path / "again").mkdir()
    theirs.write(str(tmp_path / "again"))
    again = read_colmap(tmp_path / "again", need_images=False)
    assert same(read_colmap(tmp_path / "ours", need_images=False), model) and same(again, model, 1e-10)


def test_what_colmap_can_not_hold_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    model = a_model()
    frame = model.images.frames[0]
    for bad, words in (
        (replace(frame, lens=Lens.of(LensKind.F_THETA, torch.zeros(0).double())), "F_THETA"),
        (replace(frame, lens=Lens.of(LensKind.EQUIRECTANGULAR, torch.zeros(0).double())), "part of a panorama"),
        (replace(frame, K=frame.K + torch.tensor([[0, 1.0, 0], [0, 0, 0], [0, 0, 0]])), "skew"),
        (replace(frame, file_path="a\nb"), "one line"),
    ):
        spoilt = replace(model, images=PosedImages((bad, *model.images.frames[1:])))
        with pytest.raises(InputError, match=words):
            write_colmap(tmp_path / "model", spoilt)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("kept")
    with pytest.raises(InputError, match="not empty"):
        write_colmap(tmp_path / "full", model)
    write_colmap(tmp_path / "spaced", a_model("a 1.png"))
    assert same(a_model("a 1.png"), read_colmap(tmp_path / "spaced", need_images=False))
    with pytest.raises(InputError, match="no spaces"):
        write_colmap(tmp_path / "text", a_model("a 1.png"), binary=False)
    with pytest.raises(InputError, match="one different name"):
        colmap_model(some_cameras((2,), (3, 5), 0), ["a", "a"])


def test_colors_are_bytes_or_floats_and_one_for_each_point(tmp_path: Path, unchecked: None) -> None:
    cameras, points = some_cameras((1,), (3, 5), 0), torch.rand(2, 3)
    cameras = replace(cameras, K=cameras.K * torch.tensor([[1.0, 0, 1], [0, 1, 1], [0, 0, 1]]))
    light = torch.tensor([[0.0, 0.5, 1.0], [2.0, -1.0, torch.nan]])
    assert colmap_model(cameras, ["a"], points, light).colors.tolist() == [[0, 128, 255], [255, 0, 0]]
    with pytest.raises(InputError, match="one each"):
        colmap_model(cameras, ["a"], points, light[:1])
    broken = replace(cameras, world_from_camera=cameras.world_from_camera * torch.nan)
    with pytest.raises(InputError, match="NaN or Inf"):
        write_colmap(tmp_path / "model", colmap_model(broken, ["a"]))
    assert not list(tmp_path.iterdir())
