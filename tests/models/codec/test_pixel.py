"""The pixel codec loses nothing."""

import pytest
import torch
from torch import Tensor

from geometry.errors import InputError
from worldgen.core.modalities import MODALITIES, Modality
from worldgen.models.codec.pixel import PixelCodec
from worldgen.runtime.config import plain


def images(batch: tuple[int, ...], hw: tuple[int, int]) -> dict[str, Tensor]:
    """Random ones; colors in steps of 1/256, for which 2 x - 1 is exact."""
    rgb, layout = (torch.randint(0, 257, (*batch, 3, *hw)) / 256 for _ in range(2))
    return {"rgb": rgb, "depth": torch.randn(*batch, 1, *hw), "layout": layout}


@pytest.mark.parametrize("block", [1, 2, 8])
@pytest.mark.parametrize("batch", [(3,), (2, 3)])
@pytest.mark.parametrize("layout", [False, True])
def test_decoding_undoes_encoding_exactly(block: int, batch: tuple[int, ...], layout: bool) -> None:
    codec, signals = PixelCodec(block, layout), images(batch, (16, 24))
    latent = codec.encode(signals)
    assert latent.shape == (*batch, sum(codec.modalities().values()), 16 // block, 24 // block)
    decoded = codec.decode(latent)
    assert list(decoded) == ["rgb", "depth", "layout"][: 2 + layout]
    assert all(torch.equal(part, signals[name]) for name, part in decoded.items())


def test_encoding_undoes_decoding_to_rounding() -> None:
    latent = torch.randn(2, 4 * 16, 3, 5)
    assert torch.allclose(PixelCodec(4).encode(PixelCodec(4).decode(latent)), latent, atol=1e-6)


def test_a_latent_pixel_holds_its_own_block_of_each_modality_and_nothing_else() -> None:
    signals = images((1,), (8, 8))
    before = PixelCodec(4).encode(signals)
    signals["rgb"][0, 1, 5, 2] += 0.25
    signals["depth"][0, 0, 1, 6] += 1
    changed = PixelCodec(4).encode(signals) != before
    assert changed.sum() == 2
    assert changed[0, :48, 1, 0].sum() == 1 and changed[0, 48:, 0, 1].sum() == 1


def test_what_is_missing_is_zero() -> None:
    signals = images((2,), (8, 8))
    latent = PixelCodec(4, layout=True).encode({"rgb": signals["rgb"]})
    assert torch.equal(latent[:, :48], PixelCodec(4).encode(signals)[:, :48]) and not latent[:, 48:].any()


def test_the_known_map_marks_the_numbers_of_unknown_depth_alone() -> None:
    known = torch.ones(1, 2, 1, 8, 8)
    known[0, 1, 0, 2, 3] = 0
    codec = PixelCodec(4, layout=True)
    numbers = codec.encode_known({"depth": known})
    assert numbers.shape == (1, 2, 7 * 16, 2, 2) and int((numbers == 0).sum()) == 1
    depth = codec.encode({"rgb": torch.zeros(1, 2, 3, 8, 8), "depth": 1 - known})
    assert bool(((depth[:, :, 48:64] > 0) == (numbers[:, :, 48:64] == 0)).all())


def test_a_memory_that_shows_nothing_is_exactly_zero_and_one_that_does_says_what_and_where() -> None:
    codec, rgb, signal = PixelCodec(4), torch.rand(1, 2, 3, 8, 8), torch.randn(1, 2, 1, 8, 8)
    visible = torch.zeros(1, 2, 1, 8, 8)
    assert not codec.encode_memory(rgb, signal * torch.nan, visible).any()
    visible[:, 0] = 1
    latent = codec.encode_memory(rgb, signal, visible)
    assert latent.shape[2] == codec.memory_channels and not latent[:, 1].any()
    shown = codec.encode({"rgb": rgb, "depth": signal})[:, 0]
    assert torch.equal(latent[:, 0, :64], shown) and bool((latent[:, 0, 64:] == 1).all())


@pytest.mark.parametrize("hw", [(8, 12), (12, 8), (4, 4)])
def test_sides_that_are_no_multiple_of_the_block_are_refused(hw: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="multiples of 8"):
        PixelCodec(8).encode({"rgb": torch.rand(1, 3, *hw), "depth": torch.rand(1, 1, *hw)})


def test_a_modality_can_be_added_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"codec.extra \['heat'\]; expected each once, of rgb, depth, layout"):
        PixelCodec(4, extra=("heat",))
    monkeypatch.setitem(MODALITIES, "heat", Modality.of_map("heat", 2, unit=True))
    codec, signals = PixelCodec(4, extra=("heat",)), images((2,), (8, 8)) | {"heat": torch.rand(2, 2, 8, 8)}
    assert codec.modalities() == {"rgb": 48, "depth": 16, "heat": 32}
    latent = codec.encode(signals)
    assert torch.equal(latent[:, :64], PixelCodec(4).encode(signals))
    assert torch.allclose(codec.decode(latent)["heat"], signals["heat"], atol=1e-6)
    assert plain(PixelCodec(4)) == {"block": 4, "layout": False} and plain(codec)["extra"] == ["heat"]


def test_what_a_memory_half_knows_counts_half() -> None:
    codec = PixelCodec(2)
    rgb, signal = torch.full((1, 1, 3, 4, 4), 0.8), torch.full((1, 1, 1, 4, 4), -0.4)
    latent = codec.encode_memory(rgb, signal, torch.full((1, 1, 1, 4, 4), 0.5))
    color, depth, visible = latent.split([12, 4, 4], 2)
    assert torch.allclose(color, torch.tensor(0.5 * (2 * 0.8 - 1))) and torch.allclose(depth, torch.tensor(-0.2))
    assert torch.allclose(visible, torch.tensor(0.5))
