"""Images and depth maps in files."""

import importlib.util
import math
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from geometry.io.images import (
    depth_unit,
    image_hw,
    read_depth_png,
    read_exif_fov,
    read_image,
    write_depth_png,
    write_png,
)


def test_an_8_bit_image_survives_a_png_exactly_and_its_bytes_repeat(tmp_path) -> None:
    rgb = torch.randint(0, 256, (3, 9, 14)).float() / 255
    write_png(tmp_path / "a.png", rgb)
    write_png(tmp_path / "b.png", rgb.double())
    assert torch.equal(read_image(tmp_path / "a.png"), rgb)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert image_hw(tmp_path / "a.png") == (9, 14)


def test_values_outside_0_to_1_are_clamped_and_not_numbers_refused(tmp_path, refused) -> None:
    rgb = torch.full((3, 8, 8), -0.2)
    rgb[0] = 1.2
    write_png(tmp_path / "a.png", rgb)
    assert torch.equal(read_image(tmp_path / "a.png"), rgb.clamp(0, 1))
    for bad in (math.nan, math.inf):
        with refused("b.png", "NaN"):
            write_png(tmp_path / "b.png", torch.full((3, 8, 8), bad))
    with refused("b.png", "to 255", "0..1 (divide by 255?)"):
        write_png(tmp_path / "b.png", torch.full((3, 8, 8), 255.0))
    assert not (tmp_path / "b.png").exists()


def test_transparent_pixels_show_white(tmp_path) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 0], pixels[:4, :, 3], pixels[4, :, 3] = 200, 255, 51
    Image.fromarray(pixels).save(tmp_path / "a.png")
    rgb = read_image(tmp_path / "a.png")
    assert torch.equal(rgb[:, 0, 0], torch.tensor([200 / 255, 0, 0]))
    assert torch.equal(rgb[:, 7, 0], torch.ones(3))
    assert torch.allclose(rgb[:, 4, 0], torch.tensor([0.2 * 200 / 255 + 0.8, 0.8, 0.8]), atol=1 / 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "CMYK", "I;16"])
def test_every_kind_of_gray_image_is_read_with_the_same_values(tmp_path, mode) -> None:
    gray = Image.fromarray(np.array([[0] * 8 + [255] * 8] * 8, np.uint8))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    else:
        image = (gray.convert("RGB") if mode == "CMYK" else gray).convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path, None, quality=100)
    expected = torch.cat([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)], -1)
    assert (read_image(path) - expected).abs().max() <= (2 / 255 if mode == "CMYK" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_unless_the_stored_pixels_are_wanted(tmp_path, orientation) -> None:
    stored = np.zeros((8, 16, 3), np.uint8)
    stored[:4, :8] = 255  # the upper left quarter
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    row, column = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    rgb = read_image(tmp_path / "a.png")
    hw = (8, 16) if orientation < 5 else (16, 8)
    assert tuple(rgb.shape) == (3, *hw) and image_hw(tmp_path / "a.png") == hw
    quarter = rgb[0].view(2, hw[0] // 2, 2, hw[1] // 2).mean((1, 3))
    assert quarter[row, column] == 1 and quarter.sum() == 1
    assert torch.equal(
        read_image(tmp_path / "a.png", upright=False)[0, :, :], torch.from_numpy(stored[..., 0]).float() / 255
    )
    assert image_hw(tmp_path / "a.png", upright=False) == (8, 16)


def exif_image(path, size, focal, orientation=1) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0xA405] = focal
    Image.new("RGB", size).save(path, exif=exif)


def test_field_of_view_from_exif_spans_the_shorter_side(tmp_path) -> None:
    for orientation in (1, 6):
        exif_image(tmp_path / "a.jpg", (36, 24), 12, orientation)
        assert math.isclose(read_exif_fov(tmp_path / "a.jpg") or 0, 90, abs_tol=1e-9)
    exif_image(tmp_path / "b.jpg", (40, 30), 43)
    expected = 2 * math.degrees(math.atan(15 / (43 * 50 / math.hypot(36, 24))))
    assert math.isclose(read_exif_fov(tmp_path / "b.jpg") or 0, expected)
    exif_image(tmp_path / "c.jpg", (40, 30), 0)  # 0 means unknown
    Image.new("RGB", (40, 30)).save(tmp_path / "d.jpg")
    assert read_exif_fov(tmp_path / "c.jpg") is None and read_exif_fov(tmp_path / "d.jpg") is None


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_images_that_are_none_are_refused_by_every_reader(tmp_path, refused) -> None:
    good = tmp_path / "good.png"
    write_png(good, torch.rand(3, 40, 40))
    cases = {
        "empty.png": (b"", "empty"),
        "text.png": (b"no image at all", "not a readable image"),
        "header.png": (good.read_bytes()[:20], "not a readable image"),
        "huge.png": (bomb(20000, 30), "20000x30"),
        "vast.png": (bomb(2**31 - 1, 2**31 - 1), "16384"),
    }
    for name, (data, word) in cases.items():
        (tmp_path / name).write_bytes(data)
        for read in (read_image, image_hw, read_exif_fov, lambda path: read_depth_png(path, 0.001)):
            with refused(tmp_path / name, word):
                read(tmp_path / name)
    with refused("absent.png", "no such file"):
        read_image(tmp_path / "absent.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "gif"])
def test_a_truncated_image_is_refused_in_every_format(tmp_path, refused, suffix) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8).numpy()
    Image.fromarray(noise).save(path)
    assert read_image(path).shape == (3, 64, 64)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with refused(path):
        read_image(path)


def test_sides_below_8_and_above_the_limit_are_refused(tmp_path, refused) -> None:
    for size in ((1, 1), (7, 8), (8, 7)):
        Image.new("RGB", size).save(tmp_path / "a.png")
        with refused(f"{size[0]}x{size[1]}", "8"):
            read_image(tmp_path / "a.png")
    write_png(tmp_path / "b.png", torch.zeros(3, 8, 33))
    assert read_image(tmp_path / "b.png", max_side=33).shape == (3, 8, 33)
    with refused("33x8", "32"):
        read_image(tmp_path / "b.png", max_side=32)


def test_depth_survives_a_png_to_half_a_unit_with_unknown_and_sky_exact(tmp_path) -> None:
    depth = 65 * torch.rand(1, 12, 9)
    depth[0, 0, :3] = torch.tensor([0.0, math.inf, 1e-6])
    write_depth_png(tmp_path / "d.png", depth, 0.001)
    back = read_depth_png(tmp_path / "d.png", 0.001)
    assert back[0, 0, 0] == 0 and back[0, 0, 1] == math.inf
    assert abs(float(back[0, 0, 2]) - 0.001) < 1e-9  # known stays known
    assert (back - depth)[0, 1:].abs().max() <= 0.0005 + 1e-5
    with Image.open(tmp_path / "d.png") as image:
        assert np.asarray(image).dtype == np.uint16


def test_depth_unit_is_a_millimetre_until_65_metres_and_then_the_smallest_that_fits(tmp_path) -> None:
    assert depth_unit(torch.tensor([0.0, 64.9, math.inf])) == 0.001
    assert depth_unit(torch.full((3,), math.inf)) == 0.001
    for far in (65.0, 300.0, 12345.678):
        depth = torch.tensor([0.0, 1.0, far, math.inf]).repeat(8, 2)[None]
        unit = depth_unit(depth)
        write_depth_png(tmp_path / "d.png", depth, unit)
        with Image.open(tmp_path / "d.png") as image:
            assert np.asarray(image)[0, :4].tolist() == [0, round(1 / unit), 65534, 65535]


def test_depth_that_does_not_fit_or_makes_no_sense_is_refused(tmp_path, refused) -> None:
    path = tmp_path / "d.png"
    for value, unit, word in ((65.6, 0.001, "65600"), (-1.0, 0.001, "negative"), (math.nan, 0.001, "NaN")):
        with refused(path, word):
            write_depth_png(path, torch.full((1, 8, 8), value), unit)
    for unit in (0.0, -1.0, math.nan):
        with refused("metres per unit"):
            write_depth_png(path, torch.ones(1, 8, 8), unit)
        with refused("metres per unit"):
            read_depth_png(path, unit)
    write_png(path, torch.zeros(3, 8, 8))
    with refused(path, "16-bit gray"):
        read_depth_png(path, 0.001)


def test_depth_of_a_sensor_is_read_in_metres(shared) -> None:
    depth = read_depth_png(shared / "data/rgbd_room/depth/0.png", 0.001)
    assert depth.shape == (1, 480, 640)
    assert 0.5 < float(depth[depth > 0].median()) < 5


def test_avif_is_read_where_pillow_can(tmp_path, refused, monkeypatch) -> None:
    from PIL import features

    if not features.check_module("avif"):
        pytest.skip("this Pillow has no AVIF")
    rgb = torch.full((3, 16, 24), 0.5)
    Image.fromarray((rgb * 255).round().byte().movedim(0, -1).numpy()).save(tmp_path / "a.avif", quality=100)
    assert read_image(tmp_path / "a.avif").shape == rgb.shape
    assert (read_image(tmp_path / "a.avif") - rgb).abs().max() < 0.02
    monkeypatch.setattr("geometry.io.images._formats", lambda: ("PNG",))
    with refused("a.avif", "AVIF", "pip install"):
        read_image(tmp_path / "a.avif")


def test_heic_names_the_plugin_it_takes(tmp_path, refused) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    words = ("not a readable",) if importlib.util.find_spec("pillow_heif") else ("HEIF", "pip install pillow-heif")
    with refused("a.heic", *words):
        read_image(tmp_path / "a.heic")
