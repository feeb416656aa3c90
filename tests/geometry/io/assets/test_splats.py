"""3D Gaussians in files, beside plyfile and byte by byte."""

import random
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from geometry.errors import InputError, Note
from geometry.gaussians.splats import Splats
from geometry.io.assets.ply import read_ply
from geometry.io.assets.splats import read_splats, write_splats
from geometry.rotation.transforms import rigid
from tests.geometry.gaussians.test_splats import some_splats
from tests.geometry.io.test_corruption import corrupted

RDF = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # right, down and forward of one that looks along +y, z up


def same(a: Splats, b: Splats, tolerance: float = 1e-6) -> None:
    """Equal Gaussians, of whatever quaternion."""
    for name in ("means", "scales", "opacities", "harmonics", "covariances"):
        assert torch.allclose(getattr(a, name), getattr(b, name), rtol=1e-5, atol=tolerance), name


@pytest.mark.parametrize("functions", [1, 4, 9, 16])
@pytest.mark.parametrize("frame", ["rdf", "z_up"])
def test_gaussians_survive_a_ply_in_either_frame(tmp_path, functions, frame) -> None:
    before = some_splats(20, functions, torch.float32)
    write_splats(tmp_path / "a.ply", before, frame)
    same(read_splats(tmp_path / "a.ply"), before)
    with pytest.raises(InputError, match="read_splats"):
        read_ply(tmp_path / "a.ply")
    comment = (tmp_path / "a.ply").read_bytes().split(b"end_header")[0].splitlines()[3]
    assert comment.startswith(f"comment frame {frame}: ".encode())


def test_plyfile_reads_the_layout_of_inria(tmp_path) -> None:
    plyfile = pytest.importorskip("plyfile")
    splats = some_splats(20, 9, torch.float32)
    write_splats(tmp_path / "a.ply", splats, "z_up")
    vertex = plyfile.PlyData.read(str(tmp_path / "a.ply"))["vertex"]
    names = ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3)), *(f"f_rest_{i}" for i in range(24))]
    names += ["opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    assert [p.name for p in vertex.properties] == names
    assert {p.val_dtype for p in vertex.properties} == {"f4"}
    assert np.array_equal(vertex["y"], splats.means[:, 1].numpy()) and not vertex["nz"].any()
    assert np.array_equal(vertex["f_dc_2"], splats.harmonics[:, 0, 2].numpy())
    for channel in range(3):  # channel by channel, the constant left out
        for k in range(1, 9):
            expected = splats.harmonics[:, k, channel].numpy()
            assert np.array_equal(vertex[f"f_rest_{8 * channel + k - 1}"], expected)
    opacity, scale = splats.opacities.double().numpy(), splats.scales.double().numpy()
    assert np.allclose(vertex["opacity"], np.log(opacity / (1 - opacity)), atol=1e-5)
    assert np.allclose(vertex["scale_1"], np.log(scale[:, 1]), atol=1e-6)
    assert np.array_equal(vertex["rot_0"], splats.quaternions_wxyz[:, 0].numpy())
    write_splats(tmp_path / "b.ply", splats)
    down = plyfile.PlyData.read(str(tmp_path / "b.ply"))["vertex"]
    assert np.array_equal(down["y"], -vertex["z"]) and np.array_equal(down["z"], vertex["y"])
    # What is seen from a direction is seen from the turned direction, by the harmonics in the file.
    harmonics = np.stack([down["f_dc_0"], *(down[f"f_rest_{k}"] for k in range(8))], -1)
    turned = splats.moved(rigid(RDF, torch.zeros(3))).harmonics[..., 0].numpy()
    assert np.allclose(harmonics, turned, atol=1e-6) and not np.allclose(harmonics, splats.harmonics[..., 0], atol=0.01)


@pytest.mark.parametrize(("kind", "order"), [("f4", ">"), ("f8", "<")])
def test_files_of_plyfile_without_normals_are_read_as_y_down(tmp_path, kind, order) -> None:
    plyfile = pytest.importorskip("plyfile")
    names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", *(f"scale_{i}" for i in range(3))]
    names += [f"rot_{i}" for i in range(4)]
    table = np.zeros(2, [(name, kind) for name in names])
    table["x"], table["y"], table["z"], table["f_dc_1"] = 1, 2, 3, 0.5
    table["opacity"], table["scale_0"], table["rot_0"] = 0.0, -1.0, 2.0
    plyfile.PlyData([plyfile.PlyElement.describe(table, "vertex")], byte_order=order).write(str(tmp_path / "a.ply"))
    splats = read_splats(tmp_path / "a.ply")
    assert splats.means[0].tolist() == [1, 3, -2] and splats.opacities.tolist() == [0.5, 0.5]
    assert torch.allclose(splats.scales[0], torch.tensor([0.36787945, 1, 1]))
    assert torch.allclose(splats.harmonics[0], torch.tensor([[0, 0.5, 0]]))
    assert read_splats(tmp_path / "a.ply", "z_up").means[0].tolist() == [1, 2, 3]


def test_dot_splat_is_32_bytes_each_the_largest_first(tmp_path) -> None:
    half = 0.5**0.5
    splats = Splats(
        torch.tensor([[1.0, 2, 3], [4, 5, 6]]),
        torch.tensor([[2.0, 0, 0, 0], [half, 0, -half, 0]]),
        torch.tensor([[0.1, 0.1, 0.1], [0.2, 0.3, 0.4]]),
        torch.tensor([1.0, 0.5]),
        torch.tensor([[[0.0, 1, -1]], [[10, -10, 0.2]]]),
    )
    write_splats(tmp_path / "a.splat", splats, "z_up")
    red = round(255 * (0.5 + 0.2 * 0.28209479))
    expected = struct.pack("<6f8B", 4, 5, 6, 0.2, 0.3, 0.4, 255, 0, red, 128, 219, 128, 37, 128)
    green = [round(255 * (0.5 + sign * 0.28209479)) for sign in (1, -1)]
    expected += struct.pack("<6f8B", 1, 2, 3, 0.1, 0.1, 0.1, 128, *green, 255, 255, 128, 128, 128)
    assert (tmp_path / "a.splat").read_bytes() == expected
    back = read_splats(tmp_path / "a.splat", "z_up")
    assert back.means.tolist() == [[4, 5, 6], [1, 2, 3]] and torch.equal(back.scales, splats.scales.flip(0))
    assert torch.allclose(back.colors_from(torch.zeros(3))[1], splats.colors_from(torch.zeros(3))[0], atol=0.51 / 255)


def test_a_dot_splat_survives_in_the_frame_of_viewers(tmp_path) -> None:
    before = some_splats(50, 1, torch.float32)
    write_splats(tmp_path / "a.splat", before)
    after = read_splats(tmp_path / "a.splat")
    order = (before.scales.prod(-1) * before.opacities).argsort(descending=True)
    assert torch.equal(after.means, before.means[order])
    assert (after.covariances - before.covariances[order]).abs().max() < 0.03 * before.covariances.max()
    assert (after.opacities - before.opacities[order]).abs().max() <= 0.5001 / 255


@pytest.mark.parametrize("name", ["a.ply", "a.splat"])
def test_what_no_file_can_hold_is_not_written(tmp_path, refused, name) -> None:
    good = some_splats(5, dtype=torch.float32)
    for part, value in (("means", torch.nan), ("harmonics", torch.inf), ("quaternions_wxyz", 0.0), ("scales", -1.0)):
        with refused(name, part.split("_")[0]):
            write_splats(tmp_path / name, replace(good, **{part: torch.full_like(getattr(good, part), value)}))
    with refused("a.spz", ".splat"):
        write_splats(tmp_path / "a.spz", good)
    with refused("no Gaussians"):
        write_splats(tmp_path / "a.splat", Splats(*(part[:0] for part in vars(good).values())))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (b"rot_3", b"rot_4", "no rot_3"),
        (b"property float f_rest_8\n", b"", "8 x f_rest"),
        (b"opacity", b"opaqueness", "no opacity"),
        (b"vertex 5", b"vertex 6", "6 x vertex"),
        (b"element vertex", b"element face", "expected"),
    ],
)
def test_files_that_are_no_gaussians_are_refused(tmp_path, refused, old, new, word) -> None:
    write_splats(tmp_path / "a.ply", some_splats(5, 4, torch.float32))
    data = (tmp_path / "a.ply").read_bytes()
    assert old in data
    (tmp_path / "a.ply").write_bytes(data.replace(old, new))
    with refused("a.ply", word):
        read_splats(tmp_path / "a.ply")


@pytest.mark.parametrize("name", ["a.ply", "a.splat"])
def test_a_thousand_corrupt_files_raise_nothing_but_one_line(tmp_path, name) -> None:
    path, chance, refusals = tmp_path / name, random.Random(0), 0
    write_splats(path, some_splats(6, 4, torch.float32))
    good = path.read_bytes()
    for n in range(1000):
        path.write_bytes(corrupted(good, chance))
        try:
            read = read_splats(path, None if n % 20 == 0 else "z_up")  # turning is slower, and never refuses anything
            assert all(bool(part.isfinite().all()) for part in vars(read).values())
        except InputError as error:
            assert "\n" not in str(error) and str(tmp_path) in str(error)
            refusals += 1
    assert refusals > 100


def others_ply(properties: str, rows: np.ndarray, kind: str = "float") -> bytes:
    """A PLY of one row of numbers for each Gaussian, as another program may write it."""
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n"
    head += "".join(f"property {kind} {name}\n" for name in properties.split())
    return f"{head}end_header\n".encode() + rows.astype({"float": "<f4", "double": "<f8"}[kind]).tobytes()


PROPERTIES = "x y z f_dc_0 f_dc_1 f_dc_2 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3"


def test_gaussians_that_are_not_finite_are_counted_and_dropped_on_request(tmp_path, refused) -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 14))
    path = tmp_path / "a.ply"
    path.write_bytes(others_ply(PROPERTIES, rows))
    whole = read_splats(path)
    rows[5, 0], rows[7, 6] = np.nan, np.inf
    path.write_bytes(others_ply(PROPERTIES, rows))
    with refused(path, "1 of 1000 Gaussians", "means", "drop_nonfinite"):  # an infinite logit is an opacity of 1
        read_splats(path)
    with pytest.warns(Note, match="1 of 1000 Gaussians"):
        found = read_splats(path, drop_nonfinite=True)
    kept = torch.arange(1000) != 5
    assert torch.equal(found.means, whole.means[kept]) and torch.equal(found.scales, whole.scales[kept])


def test_gaussians_of_doubles_keep_what_float32_would_lose(tmp_path) -> None:
    rows = np.random.default_rng(0).normal(size=(9, 14))
    rows[:, :3] = 0.01 * rows[:, :3] + [512345.678, 5403210.987, 431.5]
    (tmp_path / "a.ply").write_bytes(others_ply(PROPERTIES, rows, "double"))
    found = read_splats(tmp_path / "a.ply", "z_up")
    assert np.array_equal(found.means.numpy(), rows[:, :3])
    turned = read_splats(tmp_path / "a.ply")
    assert np.abs(turned.means.numpy() @ RDF.double().numpy().T - rows[:, :3]).max() < 1e-6


def test_further_properties_of_gaussians_are_named(tmp_path) -> None:
    (tmp_path / "a.ply").write_bytes(others_ply(PROPERTIES + " filter_3D", np.ones((2, 15))))
    with pytest.warns(Note, match="left out: filter_3D"):
        read_splats(tmp_path / "a.ply")
