"""What a user gives as images and cameras, in any usual form, and what is said where something is missing."""

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import worldgen
import worldgen.pipelines
from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.io.captures.nerfstudio import write_transforms
from geometry.io.images import read_image, write_png
from geometry.io.video import read_mp4, write_mp4
from geometry.trajectory.paths import orbit as circle
from tests.geometry.image.test_coercion import COLORS, RIGHT
from worldgen.core.clip import Clip
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.generation import generate
from worldgen.pipelines.inputs import image_list, read_inputs
from worldgen.pipelines.novel_views import Sampling, generate_views
from worldgen.pipelines.orbit import orbit
from worldgen.pipelines.restoration import denoise, restore
from worldgen.sampling.levels import Levels
from worldgen.sampling.restoration import Inpaint

SIDE = 16


@pytest.fixture(scope="module")
def model() -> WorldModel:
    """A small trained model."""
    return WorldModel.load("tiny", "cpu")


def frames(count: int = 2) -> torch.Tensor:
    """Images that 8 bits hold exactly."""
    pixels = torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(2))
    return pixels.float() / 255


def cameras(count: int = 2) -> Cameras:
    """Cameras around the origin."""
    return Cameras.from_fov(circle(torch.zeros(3), 2.0, 20.0, 12)[:count], 50.0, (SIDE, SIDE))


def _clip(rgb: Any, count: int = 2) -> Clip:
    return Clip(rgb, torch.zeros(count, 1, SIDE, SIDE), cameras(count))


def _generated(model: WorldModel, rgb: Any) -> torch.Tensor:
    batch = _clip(rgb)[None]
    levels = torch.tensor([[[0.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    return generate(model, batch, Levels(levels)).rgb


ENTRIES: dict[str, Callable[[WorldModel, Any], torch.Tensor]] = {
    "read_inputs": lambda model, rgb: read_inputs(rgb, cameras(), None, "crop", SIDE).given.rgb,
    "orbit": lambda model, rgb: orbit(model, rgb, cameras(), frames=1, steps=1, size_px=SIDE).clip.rgb,
    "Clip": lambda model, rgb: _clip(rgb).rgb,
    "generate": _generated,
    "generate_views": lambda model, rgb: (
        generate_views(model, _clip(rgb)[None], cameras(3)[2:][None], 2.0, Sampling(1, 1.0)).rgb
    ),
    "restore": lambda model, rgb: (
        restore(model, rgb, cameras(), Inpaint(torch.ones(2, 1, SIDE, SIDE, dtype=torch.bool).tril())).rgb
    ),
    "denoise": lambda model, rgb: denoise(model, rgb, cameras(), 0.1).rgb,
}
# Values of float32 clips are looked at where a model is given them, not in every step of a training.
LATER = {("Clip", case) for case in ("0..255", "-1..1", "NaN", "Inf")}
NOISE = {("denoise", "-1..1")}  # which noise can explain
CLAIMS_LESS = {"restore"}  # a measurement has no layout of its own, and noise takes it beyond 0..1


@pytest.mark.parametrize("case", COLORS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_images_in_every_form(entry: str, case: str, model: WorldModel, unchecked: None) -> None:
    call, (form, right, words) = ENTRIES[entry], COLORS[case]
    if entry in CLAIMS_LESS and ("last" in case or case in ("-1..1", "opaque RGBA", "list of PIL", "tuple of arrays")):
        pytest.skip("a measurement is [f, 3, y, x]")
    if (entry, case) in LATER | NOISE:
        pytest.skip("accepted there")
    given = form(frames())
    if right == RIGHT:
        found, wanted = call(model, given), call(model, frames())
        assert found.dtype == torch.float32
        assert torch.allclose(found, wanted, atol=2e-2 if "float16" in case else 1e-4), (found - wanted).abs().max()
        return
    with pytest.raises(InputError) as caught:
        call(model, given)
    assert "expected" in str(caught.value) and "\n" not in str(caught.value)
    if entry not in CLAIMS_LESS and case not in ("texts", "nothing", "ragged", "two channels", "five channels"):
        assert words in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("entry", ["orbit", "views", "generate", "generate_views", "restore", "denoise", "encode"])
def test_cameras_of_either_precision_wherever_a_model_is_used(
    entry: str, dtype: torch.dtype, model: WorldModel
) -> None:
    def made(given: Cameras) -> torch.Tensor:
        clip = Clip(frames(), torch.zeros(2, 1, SIDE, SIDE), given)
        levels = Levels(torch.tensor([[[0.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]))
        half = Inpaint(torch.ones(2, 1, SIDE, SIDE, dtype=torch.bool).tril())
        match entry:
            case "orbit":
                return orbit(model, frames(), given, frames=1, steps=1, size_px=SIDE).clip.rgb
            case "views":
                return orbit(model, frames(), cameras(), views=given, steps=1, size_px=SIDE).clip.rgb
            case "generate":
                return generate(model, clip[None], levels).rgb
            case "generate_views":
                return generate_views(model, clip[None], given[None], sampling=Sampling(1, 1.0)).rgb
            case "restore":
                return restore(model, frames(), given, half).rgb
            case "denoise":
                return denoise(model, frames(), given, 0.1).rgb
        return model.encode(clip[None]).latent

    found = made(cameras().to(dtype))
    assert found.dtype == torch.float32
    assert torch.allclose(found, made(cameras()), atol=1e-4)


def test_far_from_the_origin_cameras_in_float64_lose_nothing(model: WorldModel) -> None:
    far = torch.eye(4, dtype=torch.float64)
    far[:3, 3] = torch.tensor([4e5, 5e6, 100.0])
    moved = cameras().to(torch.float64).moved(far)
    here, there = (
        generate_views(
            model, Clip(frames(), torch.zeros(2, 1, SIDE, SIDE), seen)[None], seen[None], 2.0, Sampling(1, 1.0)
        )
        for seen in (cameras(), moved)
    )
    assert torch.allclose(here.rgb, there.rgb, atol=1e-3)


def _photo(folder: Path, orientation: int) -> Path:
    """Red above blue as stored, with an EXIF orientation."""
    rows = np.zeros((48, 64, 3), np.uint8)
    rows[:24], rows[24:] = [255, 0, 0], [0, 0, 255]
    photo = Image.fromarray(rows)
    tags = photo.getexif()
    tags[0x0112] = orientation
    photo.save(folder / "photo.jpg", exif=tags, quality=95)
    return folder / "photo.jpg"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_posed_images_are_as_stored_and_lone_ones_upright(orientation: int, tmp_path: Path) -> None:
    path = _photo(tmp_path, orientation)
    camera = Cameras.from_fov(torch.eye(4)[None], 60.0, (48, 64))
    write_transforms(tmp_path / "transforms.json", camera, ["photo.jpg"])
    stored = read_inputs(path, tmp_path / "transforms.json", None, "crop", 48).given.rgb
    assert torch.allclose(stored[0], read_image(path, upright=False)[:, :, 8:56], atol=1e-6)
    for image in (path, str(path), Image.open(path)):
        assert torch.equal(read_inputs(image, camera, None, "crop", 48).given.rgb, stored)
        upright = read_image(path)
        side = upright[:, :, 8:56] if orientation < 5 else upright[:, 8:56]
        assert torch.allclose(read_inputs(image, None, None, "crop", 48).given.rgb[0], side, atol=1e-6)


def test_one_file_name_is_one_image(tmp_path: Path, model: WorldModel) -> None:
    write_png(tmp_path / "a.png", frames()[0])
    for given in (str(tmp_path / "a.png"), tmp_path / "a.png", [tmp_path / "a.png"], frames()[0]):
        found = orbit(model, given, frames=1, steps=1, size_px=SIDE)
        assert torch.equal(found.given.rgb[0], frames()[0])


def test_a_folder_is_its_images_in_order_and_a_video_its_frames(tmp_path: Path) -> None:
    for name, rgb in zip(("b.png", "a.png"), frames()):
        write_png(tmp_path / "images" / name, rgb)
    (tmp_path / "images" / "notes.txt").write_text("none")
    assert [Path(str(p)).name for p in image_list(tmp_path / "images")] == ["a.png", "b.png"]
    found = read_inputs(tmp_path / "images", cameras(), None, "crop", SIDE)
    assert found.names == ("a.png", "b.png") and torch.equal(found.given.rgb, frames().flip(0))
    write_mp4(tmp_path / "a.mp4", frames(), 10.0)
    found = read_inputs([str(tmp_path / "a.mp4")], cameras(), None, "crop", SIDE)
    assert torch.equal(found.given.rgb, read_mp4(tmp_path / "a.mp4"))


def test_what_is_missing_is_said_with_a_way_to_get_it(tmp_path: Path) -> None:
    write_mp4(tmp_path / "a.mp4", frames(), 10.0)
    for given in (tmp_path / "a.mp4", frames(), list(frames())):
        with pytest.raises(InputError, match=r"2 images without cameras.*`cameras=`.*COLMAP.*transforms.json"):
            read_inputs(given, None, None, "crop", SIDE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="without images"):
        read_inputs(tmp_path / "empty", None, None, "crop", SIDE)
    for nothing in ([], (), frames()[:0]):
        with pytest.raises(InputError, match="no images"):
            read_inputs(nothing, None, None, "crop", SIDE)
    with pytest.raises(InputError, match="no such file"):
        read_inputs("abc.png", None, None, "crop", SIDE)


def test_the_scale_is_measured_where_none_is_given(model: WorldModel) -> None:
    from worldgen.core.normalization import require_scene_scale

    known, targets = _clip(frames())[None], cameras(4)[2:]
    scale = require_scene_scale(cameras(4))
    given, number, default = (
        generate_views(model, known, targets[None], value, Sampling(1, 1.0)).rgb
        for value in (torch.tensor([scale]), scale, None)
    )
    assert torch.equal(given, number) and torch.equal(given, default)


def test_every_public_function_that_takes_images_or_clips_is_in_the_table() -> None:
    of_clips = {"fill", "lift", "Clip"}  # which take a clip: its constructor is in the table
    found = set()
    for package in (worldgen, worldgen.pipelines):
        for name in package.__all__:
            function = getattr(package, name)
            if inspect.isfunction(function):
                hints = " ".join(str(taken.annotation) for taken in inspect.signature(function).parameters.values())
                if re.search(r"'(f |\*b )?[13c] h w'|\bClip\b|ImageInput", hints):
                    found.add(name)
    assert {"orbit", "generate_views", "restore"} <= found
    assert found - set(ENTRIES) - of_clips == set()
    assert set(ENTRIES) - found - of_clips == set()


def test_an_image_that_says_nothing_was_taken_with_55_degrees_over_its_shorter_side() -> None:
    for hw in ((40, 60), (60, 40), (40, 40)):
        inputs = read_inputs(torch.rand(3, *hw), None, None, "crop", 32)
        focal = 16 / math.tan(math.radians(55 / 2))
        expected = torch.tensor([[focal, 0, 16], [0, focal, 16], [0, 0, 1]])
        assert torch.allclose(inputs.given.cameras.K, expected[None], atol=1e-3), hw
    padded = read_inputs(torch.rand(3, 40, 60), None, None, "pad", 60)  # 55 degrees over 40 of the 60 rows
    assert float(padded.given.cameras.K[0, 1, 1]) == pytest.approx(20 / math.tan(math.radians(55 / 2)), rel=1e-5)
