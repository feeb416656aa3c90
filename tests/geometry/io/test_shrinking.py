"""Images decoded at the size that is needed are those read whole and made smaller."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from geometry.camera.rays import ray_map
from geometry.errors import InputError
from geometry.io.captures.posed import PosedImage
from geometry.io.images import image_hw, read_image, shrunk_hw

ORIENTATION = 0x0112


def picture(path: Path, hw: tuple[int, int] = (403, 618), mode: str = "RGB", orientation: int = 1) -> Path:
    """A smooth image with a different color in each corner."""
    down, across = (torch.linspace(0, 1, side) for side in hw)
    rgb = torch.stack([down[:, None].expand(hw), across.expand(hw), (down[:, None] * across * 9).sin() / 2 + 0.5], -1)
    image = Image.fromarray((rgb * 255).byte().numpy())
    if mode == "I;16":
        image = Image.fromarray((rgb[..., 0] * 65535).to(torch.uint16).numpy())
    elif mode == "RGBA":
        image.putalpha(Image.fromarray((across.expand(hw) * 255).byte().numpy()))
    elif mode != "RGB":
        image = image.convert(mode)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image.save(path, exif=exif, quality=95)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tif"])
@pytest.mark.parametrize("side", [16, 50, 97, 150])
def test_it_is_the_whole_image_made_smaller(name: str, side: int, tmp_path: Path) -> None:
    path = picture(tmp_path / name)
    small, whole = read_image(path, shorter_side=side), read_image(path)
    assert tuple(small.shape[1:]) == shrunk_hw((403, 618), side) and min(small.shape[1:]) == side
    size = (small.shape[1], small.shape[2])
    expected = torch.nn.functional.interpolate(whole[None], size, mode="bicubic", antialias=True)[0]
    # A shift by a twentieth of a pixel, or another scale, would be seen in the ramps.
    assert float((small - expected)[:, 1:-1, 1:-1].abs().max()) < 0.02
    assert float((small - expected).mean((1, 2)).abs().max()) < 2e-3


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK", "I;16"])
def test_every_mode_is_shrunk(mode: str, tmp_path: Path) -> None:
    path = picture(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), mode=mode)
    small, whole = read_image(path, shorter_side=40), read_image(path)
    expected = torch.nn.functional.interpolate(whole[None], small.shape[1:], mode="area")[0]
    assert float((small - expected).abs().mean()) < 0.02


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_as_the_whole_one_is(orientation: int, tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg", orientation=orientation)
    for upright in (True, False):
        small, whole = (read_image(path, upright=upright, shorter_side=side) for side in (40, None))
        assert (small.shape[1] > small.shape[2]) == (whole.shape[1] > whole.shape[2])
        expected = torch.nn.functional.interpolate(whole[None], small.shape[1:], mode="area")[0]
        assert float((small - expected).abs().mean()) < 0.02


def test_small_images_are_read_as_they_are(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    assert torch.equal(read_image(path, shorter_side=202), read_image(path))
    assert shrunk_hw((403, 618), 202) is None and shrunk_hw((403, 618), 201) == (201, 308)
    assert shrunk_hw((8, 16000), 1) == (1, 2000)


def test_a_posed_image_that_is_shrunk_sees_along_the_same_rays(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg")
    K = torch.tensor([[500.0, 0, 300], [0, 510, 210], [0, 0, 1]], dtype=torch.float64)
    whole = PosedImage("a.jpg", path, torch.eye(4, dtype=torch.float64), K, (403, 618))
    small = whole.shrunk(40)
    assert small.hw == (40, 61) and small.shrunk(10) is small and whole.shrunk(300) is whole
    assert tuple(small.read().shape) == (3, *small.hw)
    across, down = (torch.tensor([0.0, side]) for side in (61, 40))
    for u, v in zip(across, down):
        shrunk_ray = torch.linalg.inv(small.K) @ torch.tensor([float(u), float(v), 1], dtype=torch.float64)
        corner = torch.tensor([float(u) * 618 / 61, float(v) * 403 / 40, 1], dtype=torch.float64)
        assert torch.allclose(shrunk_ray, torch.linalg.inv(whole.K) @ corner)
    assert ray_map(small.camera)[1].shape == (40, 61, 3)


def test_a_file_of_another_size_than_its_capture_says_is_refused(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg")
    wrong = PosedImage("a.jpg", path, torch.eye(4).double(), torch.eye(3).double(), (410, 618)).shrunk(40)
    with pytest.raises(InputError, match="403"):
        wrong.read()
    assert image_hw(path) == (403, 618)
