"""The same cameras in the formats of tools, phones and benchmarks: they come out the same, whoever wrote them."""

import json
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from geometry.camera.lenses import LensKind
from geometry.errors import InputError, Note
from geometry.io.captures import co3d, opensfm, phones
from geometry.io.captures.co3d import read_co3d
from geometry.io.captures.llff import read_llff
from geometry.io.captures.metashape import read_metashape
from geometry.io.captures.opensfm import read_opensfm
from geometry.io.captures.phones import read_polycam
from geometry.io.captures.posed import PosedImages
from geometry.io.captures.rgbd_folders import read_seven_scenes, read_tum_rgbd
from geometry.io.formats import captures_of, read
from geometry.io.images import write_depth_png, write_png
from geometry.trajectory.checks import lint
from tests.geometry.io.captures.made import HW
from tests.geometry.io.captures.made_exports import COUNT, EXPORTS, write_co3d, write_tum_rgbd

every_export = pytest.mark.parametrize("name", EXPORTS)


def quiet(path: Path, **options) -> PosedImages:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        return read(path, "cameras", **options)


@every_export
def test_the_same_cameras_come_out_of_every_format(tmp_path: Path, name: str) -> None:
    write, path, options = EXPORTS[name]
    expected = write(tmp_path)
    found = quiet(tmp_path / path, **options)
    assert (found.cameras.world_from_camera - expected.world_from_camera).abs().max() < 1e-9
    assert (found.cameras.K - expected.K).abs().max() < 1e-9 and found.cameras.hw == HW
    assert all(frame.read().shape == (3, *HW) for frame in found.frames) and len(found) == COUNT
    assert lint(found.cameras) == []


@every_export
def test_each_is_known_by_what_it_holds(tmp_path: Path, name: str) -> None:
    write, path, _ = EXPORTS[name]
    write(tmp_path)
    found = captures_of(tmp_path / path)
    assert found is not None and found[0] == name and len(found[1]) == 1


@every_export
def test_images_may_be_missing_on_request_or_not_be_there_at_all(tmp_path: Path, name: str) -> None:
    write, path, options = EXPORTS[name]
    write(tmp_path)
    whole = quiet(tmp_path / path, **options)
    assert whole.frames[1].path is not None
    whole.frames[1].path.unlink()
    with pytest.raises(InputError):
        quiet(tmp_path / path, **options)
    if name != "LLFF":  # where images belong to rows by their order
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rest = read(tmp_path / path, "cameras", skip_missing=True, **options)
        assert [f.file_path for f in rest.frames] == [whole.frames[0].file_path, whole.frames[2].file_path]
        assert any(f"1 of {COUNT} images are missing" in str(w.message) for w in caught)
    if "fov_deg" not in options:  # without images nothing says their size there
        bare = quiet(tmp_path / path, need_images=False, **options)
        assert torch.equal(bare.cameras.world_from_camera, whole.cameras.world_from_camera)


@every_export
def test_damaged_files_are_one_line(tmp_path: Path, name: str) -> None:
    write, path, options = EXPORTS[name]
    write(tmp_path)
    files = [f for f in tmp_path.rglob("*") if f.is_file() and f.suffix in (".npy", ".json", ".jgz", ".txt", ".xml")]
    chance = random.Random(0)
    for _ in range(60):
        file = chance.choice(files)
        good = file.read_bytes()
        bad = bytearray(good)
        for _ in range(chance.choice([1, 3, 20])):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        file.write_bytes(bytes(bad[: chance.choice([len(bad), chance.randrange(1, len(bad))])]))
        try:
            quiet(tmp_path / path, **options)
        except InputError as error:
            assert "\n" not in str(error), error
        file.write_bytes(good)


def test_what_a_recording_does_not_say_is_assumed_aloud_or_asked_for(tmp_path: Path, refused) -> None:
    write_tum_rgbd(tmp_path)
    with pytest.warns(Note, match="1 of 4 images have no pose"):
        found = read_tum_rgbd(tmp_path, 50.0)
    assert [frame.time_s for frame in found.frames] == [100, 101, 102]
    assert [float(frame.read_depth(frame.camera).mean()) for frame in found.frames] == pytest.approx([1, 2, 3])
    with refused("24x20 without a lens", "fov_deg"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_tum_rgbd(tmp_path)
    for n in range(4):
        write_png(tmp_path / f"rgb/{100 + n}.png", torch.rand(3, 480, 640))
    with pytest.warns(Note, match="Kinect"):
        assert read_tum_rgbd(tmp_path).frames[0].K.tolist() == [[525, 0, 320], [0, 525, 240], [0, 0, 1]]
    (tmp_path / "depth/101.png").unlink()
    with refused("depth depth/101.png"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_tum_rgbd(tmp_path, 50.0)


def test_lost_tracking_and_the_depth_of_another_camera_are_said(tmp_path: Path) -> None:
    EXPORTS["7-Scenes"][0](tmp_path)
    write_depth_png(tmp_path / "frame-000000.depth.png", torch.ones(1, *HW), 0.001)
    (tmp_path / "frame-000001.pose.txt").write_text("inf " * 16)
    with pytest.warns(Note) as notes:
        found = read_seven_scenes(tmp_path, 50.0)
    said = " ".join(str(note.message) for note in notes)
    assert len(found) == 2 and "1 of 3 images have no finite pose" in said and "depth is of another camera" in said


def test_older_co3d_has_another_unit_and_several_sequences_are_named(tmp_path: Path, refused) -> None:
    expected = write_co3d(tmp_path, isotropic=False)
    path = tmp_path / "cup/frame_annotations.jgz"
    assert torch.allclose(read_co3d(path).cameras.K, expected.K)
    frames = co3d._frames(path)
    frames.append(frames[0] | {"sequence_name": "9_9", "depth": {"path": "x"}})
    path.with_suffix(".json").write_text(json.dumps(frames))
    path = path.with_suffix(".json")
    with refused("2 sequences", "110_1, 9_9"):
        read_co3d(path)
    assert len(read_co3d(path, "110_1")) == COUNT
    with pytest.warns(Note, match="not read: depth"):
        assert len(read_co3d(path, "9_9")) == 1
    found = captures_of(path)
    assert found is not None and [label for label, _ in found[1]] == ["110_1", "9_9"]


LENSES = [
    ("perspective", {"focal": 0.9, "k1": 0.1, "k2": -0.2}, LensKind.OPENCV, [0.1, -0.2]),
    ("brown", {"focal_x": 0.9, "focal_y": 0.9, "k1": 0.1, "p1": 0.2, "p2": 0.3, "k3": 0.4}, LensKind.OPENCV,
     [0.1, 0, 0.2, 0.3, 0.4]),
    ("fisheye", {"focal": 0.9, "k1": 0.1, "k2": -0.2}, LensKind.FISHEYE, [0.1, -0.2]),
    ("spherical", {}, LensKind.EQUIRECTANGULAR, []),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "values", "lens", "numbers"), LENSES)
def test_opensfms_lenses_are_ours(tmp_path: Path, refused, kind, values, lens, numbers) -> None:
    EXPORTS["OpenSfM"][0](tmp_path)
    path = tmp_path / "reconstruction.json"
    data = json.loads(path.read_text())[1]
    data["cameras"]["v2 a"] = {"projection_type": kind, "width": HW[1], "height": HW[0], **values}
    path.write_text(json.dumps([data]))
    frame = read_opensfm(path).frames[0]
    assert frame.lens is not None and int(frame.lens.kind) == lens
    assert frame.lens.coefficients.tolist() == pytest.approx([*numbers, *[0.0] * (8 - len(numbers))])
    data["cameras"]["v2 a"]["projection_type"] = "dual"
    path.write_text(json.dumps([data]))
    with refused("dual", "projection_type"):
        read_opensfm(path)


def test_metashapes_tangential_distortion_is_opencvs_the_other_way_round(tmp_path: Path, refused) -> None:
    EXPORTS["Metashape"][0](tmp_path)
    path = tmp_path / "cameras.xml"
    good = path.read_text()
    path.write_text(good.replace("<f>", "<k1>0.1</k1><p1>0.01</p1><p2>0.02</p2><f>"))
    with pytest.warns(Note, match="1 cameras are not aligned"):
        lens = read_metashape(path).frames[0].lens
    assert lens is not None and lens.coefficients.tolist()[:4] == [0.1, 0, 0.02, 0.01]
    path.write_text(good.replace("<f>", "<b2>0.1</b2><f>"))
    with refused("b2 is not 0"):
        read_metashape(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_with_entities_is_refused_unread(tmp_path: Path, refused, encoding: str) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]>'
    text = f'<?xml version="1.0" encoding="{encoding}"?>{bomb}<document><chunk>&c;</chunk></document>'
    (tmp_path / "a.xml").write_bytes(text.encode(encoding))
    with refused("a.xml"):
        read_metashape(tmp_path / "a.xml")


def test_pickles_in_poses_bounds_are_not_opened(tmp_path: Path, refused) -> None:
    np.save(tmp_path / "poses_bounds.npy", np.array([{}], dtype=object), allow_pickle=True)
    with refused("not an array of numbers"):
        read_llff(tmp_path)


def test_the_real_llff_capture_is_read(shared: Path) -> None:
    found = read_llff(shared / "data/llff_mary_rose")
    assert len(found) == 23 and lint(found.cameras) == [] and found.cameras.hw == (512, 512)
    assert found.frames[0].read().shape == (3, 512, 512)


@pytest.mark.parametrize(
    ("name", "file", "keys", "find"),
    [
        ("OpenSfM", "reconstruction.json", opensfm.KEYS["camera"], lambda meta: meta[1]["cameras"]["v2 a"]),
        ("OpenSfM", "reconstruction.json", opensfm.KEYS["shot"], lambda meta: meta[1]["shots"]["1.png"]),
        ("Polycam", "keyframes/corrected_cameras/101.json", phones.KEYS["Polycam"], lambda meta: meta),
        ("Record3D", "metadata.json", phones.KEYS["Record3D"], lambda meta: meta),
    ],
)
def test_no_key_is_dropped_without_a_word(tmp_path: Path, refused, name, file, keys, find) -> None:
    write, path, options = EXPORTS[name]
    write(tmp_path)
    good = json.loads((tmp_path / file).read_text())
    assert find(good).keys() <= keys.read | keys.harmless
    for key in ("strange", *keys.refused):
        meta = json.loads((tmp_path / file).read_text())
        find(meta)[key] = 1
        (tmp_path / file).write_text(json.dumps(meta))
        if key == "strange":
            with pytest.warns(Note, match="not read: strange"):
                read(tmp_path / path, "cameras", **options)
        else:
            with refused(key, "which is not read"):
                quiet(tmp_path / path, **options)
        (tmp_path / file).write_text(json.dumps(good))


def test_uncorrected_images_of_polycam_come_with_depth(tmp_path: Path) -> None:
    EXPORTS["Polycam"][0](tmp_path)
    (tmp_path / "keyframes/corrected_cameras").rename(tmp_path / "keyframes/cameras")
    (tmp_path / "keyframes/corrected_images").rename(tmp_path / "keyframes/images")
    write_depth_png(tmp_path / "keyframes/depth/100.png", torch.full((1, HW[0] // 2, HW[1] // 2), 2.5), 0.001)
    frame = read_polycam(tmp_path).frames[0]
    assert float(frame.read_depth(frame.camera).mean()) == pytest.approx(2.5)
