"""What every reader of captures does alike: missing, linked and resized images, names, keys, masks and depth."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.errors import Note
from geometry.io.captures import ddad, nerfstudio, nuscenes
from geometry.io.captures.colmap import read_colmap_images
from geometry.io.captures.ddad import read_ddad
from geometry.io.captures.nerfstudio import read_transforms, write_transforms
from geometry.io.captures.nuscenes import read_nuscenes, read_nuscenes_frame
from geometry.io.captures.posed import PosedImage, PosedImages, same_proportions
from geometry.io.captures.realestate10k import read_realestate10k
from geometry.io.entries import Keys, listed_file
from geometry.io.images import image_hw, read_image, write_depth_png, write_png
from tests.geometry.io.captures.made import (
    HW,
    world_cameras,
    write_colmap,
    write_dgp,
    write_images,
    write_nuscenes,
    write_realestate10k,
)

Read = Callable[..., PosedImages]


def transforms(folder: Path) -> Read:
    """Three images and their cameras."""
    names = [f"images/{n}.png" for n in range(3)]
    write_images(folder, names)
    write_transforms(folder / "transforms.json", world_cameras(3), names)
    return lambda **options: read_transforms(folder / "transforms.json", **options)


def colmap(folder: Path, binary: bool) -> Read:
    """Three images and a model without points, as COLMAP's guide has known poses written."""
    write_colmap(folder, binary)
    (folder / "sparse").mkdir()
    for path in [path for path in folder.iterdir() if path.suffix]:
        path.rename(folder / "sparse" / path.name)
    return lambda **options: read_colmap_images(folder, **options)


def drive(folder: Path) -> Read:
    """A nuScenes dataset of four images."""
    write_nuscenes(folder)
    return lambda **options: read_nuscenes(folder, "scene-0001", **options)


def dgp(folder: Path) -> Read:
    """A DGP scene of two images."""
    path = write_dgp(folder)[0]
    return lambda **options: read_ddad(path, **options)


def ddad_frames(folder: Path) -> Read:
    """A DDAD scene in one file, of two images."""
    cameras, names = world_cameras(2), ["images/a.png", "images/b.png"]
    write_images(folder, names)
    shots = {name: shot(cameras, n, name) | {"cam2world": pose(cameras, n)} for n, name in enumerate(names)}
    sweep = {"file": "none.npy", "columns": ["x", "y", "z"], "sensor2world": torch.eye(4).tolist()}
    write(folder / "scene.json", {"frames": [{"cameras": shots, "lidar": sweep}]})
    return lambda **options: read_ddad(folder / "scene.json", **options)


def drive_frame(folder: Path) -> Read:
    """A nuScenes frame in one file, of two images."""
    cameras, names = world_cameras(2), ["images/a.png", "images/b.png"]
    write_images(folder, names)
    lidar = {"file": "none.npy", "columns": ["x", "y", "z"], "lidar2ego": torch.eye(4).tolist()}
    inverse = [torch.linalg.inv(cameras.world_from_camera[n]).tolist() for n in range(2)]
    shots = {name: shot(cameras, n, name) | {"lidar2cam": inverse[n]} for n, name in enumerate(names)}
    write(folder / "sample.json", {"ego2global": torch.eye(4).tolist(), "lidar": lidar, "cameras": shots})
    return lambda **options: read_nuscenes_frame(folder / "sample.json", **options)


def clip(folder: Path) -> Read:
    """A RealEstate10K text with a folder of three images."""
    write_realestate10k(folder / "clip.txt")
    write_images(folder / "clip", ["0.png", "200000.png", "400000.png"])
    return lambda **options: read_realestate10k(folder / "clip.txt", **options)


def shot(cameras: Cameras, n: int, name: str) -> dict[str, Any]:
    """An image as JSON has it, pixel centers at whole numbers."""
    K = cameras.K[n] - torch.tensor([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    return {"image": name, "width": HW[1], "height": HW[0], "intrinsics": K.tolist()}


def pose(cameras: Cameras, n: int) -> list[list[float]]:
    return cameras.world_from_camera[n].tolist()


def write(path: Path, meta: Any) -> None:
    path.write_text(json.dumps(meta))


READERS: dict[str, Callable[[Path], Read]] = {
    "transforms.json": transforms, "COLMAP binary": lambda folder: colmap(folder, True),
    "COLMAP text": lambda folder: colmap(folder, False), "nuScenes": drive,
    "nuScenes frame": drive_frame, "DDAD": ddad_frames, "DGP": dgp, "RealEstate10K": clip,
}  # fmt: skip
every_reader = pytest.mark.parametrize("name", READERS)


@every_reader
def test_missing_images_are_named_and_can_be_left_out(tmp_path: Path, refused, name: str) -> None:
    read = READERS[name](tmp_path)
    whole = read()
    gone = whole.frames[1]
    assert gone.path is not None
    gone.path.unlink()
    with refused(Path(gone.file_path).name, f"1 of {len(whole)}", "skip_missing"):
        read()
    with pytest.warns(Note, match=f"1 of {len(whole)} images are missing"):
        rest = read(skip_missing=True)
    kept = [frame for frame in whole.frames if frame is not gone]
    assert [frame.file_path for frame in rest.frames] == [frame.file_path for frame in kept]
    assert all(torch.equal(a.K, b.K) and a.time_s == b.time_s for a, b in zip(rest.frames, kept))
    for frame in kept:
        assert frame.path is not None
        frame.path.unlink()
    with refused("none of the"):
        read(skip_missing=True)


@pytest.mark.parametrize("name", [name for name in READERS if name != "RealEstate10K"])  # fractions of any size
def test_images_resized_alike_take_their_cameras_with_them(tmp_path: Path, refused, name: str) -> None:
    read = READERS[name](tmp_path)
    whole = read()
    small = (HW[0] // 2, HW[1] // 2)
    for frame in whole.frames:
        assert frame.path is not None
        write_png(frame.path, torch.rand(3, *small))
    with pytest.warns(Note, match=f"{len(whole)} cameras resized"):
        halved = read()
    for frame, before in zip(halved.frames, whole.frames):
        assert frame.hw == small and frame.read().shape == (3, *small)
        assert torch.allclose(frame.K[:2], before.K[:2] / 2) and (frame.lens is None) == (before.lens is None)
    assert halved.frames[0].path is not None
    write_png(halved.frames[0].path, torch.rand(3, HW[0] // 2, HW[1]))
    with refused(f"{HW[1]}x{HW[0] // 2} pixels", f"expected {HW[1]}x{HW[0]}"):
        read()


@every_reader
def test_links_that_a_user_made_are_followed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "capture"
    folder.mkdir()
    read = READERS[name](folder)
    path = read().frames[0].path
    assert path is not None
    path.rename(tmp_path / "elsewhere.png")
    path.symlink_to(tmp_path / "elsewhere.png")
    assert torch.equal(read().frames[0].read(), read_image(tmp_path / "elsewhere.png"))


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("COLMAP binary", "RealEstate10K")])
def test_backslashes_are_separators(tmp_path: Path, name: str) -> None:
    read = READERS[name](tmp_path)
    before = read()
    if name.startswith("COLMAP"):
        (tmp_path / "images/sub").mkdir()
        (tmp_path / "images/my image 0.png").rename(tmp_path / "images/sub/my image 0.png")
        path = tmp_path / "sparse/images.txt"
        path.write_text(path.read_text().replace("my image 0", r"sub\my image 0"))
    for path in tmp_path.rglob("*.json"):
        names = [frame.file_path for frame in before.frames]
        text = path.read_text()
        for file in names:
            text = text.replace(json.dumps(file), json.dumps(file.replace("/", "\\")))
        path.write_text(text)
    after = read()
    assert "\\" in after.frames[0].file_path
    assert [frame.path and frame.path.name for frame in after.frames] == [
        frame.path and frame.path.name for frame in before.frames
    ]


def test_a_backslash_that_is_part_of_a_name_stays_one(tmp_path: Path) -> None:
    write_png(tmp_path / r"a\b.png", torch.rand(3, 8, 8))
    assert listed_file(tmp_path, r"a\b.png", "x") == tmp_path / r"a\b.png"


# Every kind of object in the JSON of a capture: the reader, its table of keys, and where such an object is.
OBJECTS: list[tuple[str, Keys, Callable[[Any], dict[str, Any]]]] = [
    ("transforms.json", nerfstudio.KEYS["file"], lambda meta: meta),
    ("transforms.json", nerfstudio.KEYS["frame"], lambda meta: meta["frames"][1]),
    ("nuScenes frame", nuscenes.KEYS["file"], lambda meta: meta),
    ("nuScenes frame", nuscenes.KEYS["lidar"], lambda meta: meta["lidar"]),
    ("nuScenes frame", nuscenes.KEYS["camera"], lambda meta: meta["cameras"]["images/b.png"]),
    ("DDAD", ddad.KEYS["file"], lambda meta: meta),
    ("DDAD", ddad.KEYS["frame"], lambda meta: meta["frames"][0]),
    ("DDAD", ddad.KEYS["camera"], lambda meta: meta["frames"][0]["cameras"]["images/b.png"]),
    ("DDAD", ddad.KEYS["lidar"], lambda meta: meta["frames"][0]["lidar"]),
    ("DGP", ddad.KEYS["DGP scene"], lambda meta: meta),
    ("DGP", ddad.KEYS["DGP image"], lambda meta: meta["data"][0]["datum"]["image"]),
]


@pytest.mark.parametrize("row", range(len(OBJECTS)))
def test_no_key_is_dropped_without_a_word(tmp_path: Path, refused, row: int) -> None:
    name, keys, find = OBJECTS[row]
    read = READERS[name](tmp_path)
    path = next(path for path in tmp_path.glob("*.json"))
    good = path.read_text()

    def notes(key: str) -> list[str]:
        meta = json.loads(good)
        find(meta).setdefault(key, "some text")
        path.write_text(json.dumps(meta))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read()
        return [str(w.message) for w in caught if w.category is Note and "not read" in str(w.message)]

    assert not keys.read & keys.harmless and not keys.refused.keys() & (keys.read | keys.harmless)
    assert [key for key in keys.harmless if notes(key)] == []
    assert [text.split(": ", 2)[-1] for text in notes("strange")][-1].endswith("strange")
    for key in keys.refused:
        with refused(key, "which is not read"):
            notes(key)
    assert find(json.loads(good)).keys() <= keys.read, "what the test writes is read"


@pytest.mark.parametrize(
    ("key", "values"), [("time_s", (0, 0.5, 7)), ("timestamp", (0.0, 0.5, 1)), ("time", (0, 0.5, 1.0))]
)
def test_times_are_read_in_every_spelling(tmp_path: Path, key: str, values: tuple[float, ...]) -> None:
    read = transforms(tmp_path)
    meta = json.loads((tmp_path / "transforms.json").read_text())
    for frame, value in zip(meta["frames"], values):
        frame[key] = value
    write(tmp_path / "transforms.json", meta)
    assert [frame.time_s for frame in read().frames] == list(values)


def with_depth(folder: Path, key: str, top: dict[str, Any], name: str = "depth.png") -> Path:
    """A capture of one image with depth of 5000 units, 0 and 65535."""
    write_images(folder, ["a.png"])
    units = torch.full((1, *HW), 5.0)
    units[0, 0, :2] = torch.tensor([0, torch.inf])
    write_depth_png(folder / "depth.png", units, 0.001)
    frame = {"file_path": "a.png", key: name, "transform_matrix": torch.eye(4).tolist()}
    write(folder / "transforms.json", {"fl_x": 50, **top, "frames": [frame]})
    return folder / "transforms.json"


@pytest.mark.parametrize("key", ["depth_file_path", "depth_path"])
@pytest.mark.parametrize(
    ("top", "metres"),
    [({}, 5.0), ({"integer_depth_scale": 0.0002}, 1.0), ({"depth_unit_scale_factor": 0.0002}, 1.0)],
)
def test_depth_is_read_in_both_spellings_and_the_stated_unit(
    tmp_path: Path, key: str, top: dict, metres: float
) -> None:
    frame = read_transforms(with_depth(tmp_path, key, top)).frames[0]
    depth = frame.read_depth(frame.camera)
    assert torch.allclose(depth[0, 1:], torch.tensor(metres))
    assert depth[0, 0, :2].tolist() == [0, torch.inf], "65535 is sky in any unit"


def test_depth_that_is_named_is_there_and_of_one_unit(tmp_path: Path, refused) -> None:
    for key in ("depth_file_path", "depth_path"):
        with refused(key, "gone.png"):
            read_transforms(with_depth(tmp_path, key, {}, "gone.png"))
    with refused("one unit of depth"):
        read_transforms(with_depth(tmp_path, "depth_path", {"integer_depth_scale": 1, "depth_unit_scale_factor": 2}))
    with refused("one unit of depth"):
        read_transforms(with_depth(tmp_path, "depth_path", {"integer_depth_scale": -1}))
    with refused("depth_sky 0", "65535"):
        read_transforms(with_depth(tmp_path, "depth_path", {"depth_sky": 0}))
    meta = json.loads(with_depth(tmp_path, "depth_path", {}).read_text())
    meta["frames"][0]["depth_file_path"] = "a.png"
    write(tmp_path / "transforms.json", meta)
    with refused("depth_file_path and depth_path that differ"):
        read_transforms(tmp_path / "transforms.json")


def masked(folder: Path, hw: tuple[int, int], lens: Lens | None = None) -> PosedImage:
    """An image that is red on the left and green on the right, where its mask is black."""
    rgb = torch.zeros(3, *HW)
    rgb[0, :, : HW[1] // 2], rgb[1, :, HW[1] // 2 :] = 1, 1
    mask = torch.zeros(3, *hw)
    mask[:, :, : hw[1] // 2] = 1 / 255  # what is not 0 is white
    write_png(folder / "a.png", rgb)
    write_png(folder / "mask.png", mask)
    camera = Cameras.from_fov(torch.eye(4, dtype=torch.float64)[None], 60.0, HW)
    write_depth_png(folder / "depth.png", torch.ones(1, *HW), 0.001)
    write_transforms(folder / "t.json", camera, ["a.png"], ["depth.png"])
    meta = json.loads((folder / "t.json").read_text())
    meta["frames"][0]["mask_path"] = "mask.png"
    write(folder / "t.json", meta)
    return replace(read_transforms(folder / "t.json").frames[0], lens=lens)


@pytest.mark.parametrize("hw", [HW, (HW[0] // 2, HW[1] // 2), (HW[0] * 2, HW[1] * 2)])
def test_masked_pixels_are_unknown(tmp_path: Path, hw: tuple[int, int]) -> None:
    image = masked(tmp_path, hw)
    flat, camera, known = image.flattened(image.read())
    half = HW[1] // 2
    assert bool(known[..., :half].all()) and not bool(known[..., half:].any())
    assert bool((flat == torch.tensor([1.0, 0, 0])[:, None, None]).all()), "filled from what is known"
    depth = image.read_depth(image.camera)
    assert bool((depth[..., :half] == 1).all()) and bool((depth[..., half:] == 0).all())
    window = image.camera.cropped(2, half - 2, (6, 6)).resized((3, 3))
    assert bool((image.read_depth(window)[..., 0] == 1).all()) and bool((image.read_depth(window)[..., 1:] == 0).all())
    assert camera.hw == HW


def test_masks_are_flattened_with_their_images(tmp_path: Path) -> None:
    lens = Lens.of(LensKind.OPENCV, torch.tensor([0.3], dtype=torch.float64))
    image = masked(tmp_path, HW, lens)
    flat, _, known = image.flattened(image.read())
    assert 0.2 < float(known.double().mean()) < 0.6
    assert float(flat[1].max()) < 0.1, "no green of the masked half comes in"


def test_masks_that_say_nothing_or_do_not_fit_are_refused(tmp_path: Path, refused) -> None:
    image = masked(tmp_path, HW)
    write_png(tmp_path / "mask.png", torch.zeros(3, *HW))
    with refused("mask without white"):
        image.read_mask()
    write_png(tmp_path / "mask.png", torch.ones(3, HW[0], HW[0]))
    with refused("mask.png", f"{HW[0]}x{HW[0]}"):
        image.read_mask()
    (tmp_path / "mask.png").unlink()
    with refused("mask_path", "mask.png"):
        read_transforms(tmp_path / "t.json")


def test_sizes_that_rounding_explains_are_of_the_same_proportions() -> None:
    for n in (2, 4, 8):
        for h, w in ((3286, 4946), (3455, 5187), (1080, 1920), (2268, 4032)):
            for rounded in ((h // n, w // n), (-(-h // n), -(-w // n)), (round(h / n), round(w / n))):
                assert same_proportions(rounded, (h, w))
    for other in ((480, 641), (481, 640), (640, 480), (240, 330), (479, 640)):
        assert not same_proportions(other, (480, 640)), other


def test_images_of_several_sizes_have_cameras_by_size(tmp_path: Path) -> None:
    read = transforms(tmp_path)
    meta = json.loads((tmp_path / "transforms.json").read_text())
    write_png(tmp_path / "images/1.png", torch.rand(3, 2 * HW[0], HW[1]))
    meta["frames"][1] |= {"h": 2 * HW[0]}
    write(tmp_path / "transforms.json", meta)
    found = read()
    assert [frame.hw for frame in found.frames] == [HW, (2 * HW[0], HW[1]), HW]
    assert [(len(part), part.hw) for part in found.by_size()] == [(2, HW), (1, (2 * HW[0], HW[1]))]
    again = tmp_path / "again.json"
    write_transforms(again, [frame.camera for frame in found.frames], [frame.file_path for frame in found.frames])
    back = read_transforms(again)
    assert [image_hw(frame.path) for frame in back.frames if frame.path] == [frame.hw for frame in back.frames]
    assert all(torch.equal(a.K, b.K) for a, b in zip(back.frames, found.frames))
