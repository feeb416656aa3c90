"""The pixel codec loses nothing."""

import pytest
import torch

from geometry.errors import InputError
from worldgen.models.codec import PixelCodec


@pytest.mark.parametrize("block", [1, 2, 8])
@pytest.mark.parametrize("batch", [(3,), (2, 3)])
def test_decoding_undoes_encoding_exactly(block: int, batch: tuple[int, ...]) -> None:
    rgb = torch.randint(0, 257, (*batch, 3, 16, 24)) / 256  # 2 x - 1 is exact for these
    signal = torch.randn(*batch, 1, 16, 24)
    latent = PixelCodec(block).encode(rgb, signal)
    assert latent.shape == (*batch, sum(PixelCodec(block).modalities().values()), 16 // block, 24 // block)
    decoded_rgb, decoded_signal = PixelCodec(block).decode(latent)
    assert torch.equal(decoded_rgb, rgb) and torch.equal(decoded_signal, signal)


def test_encoding_undoes_decoding_to_rounding() -> None:
    latent = torch.randn(2, 4 * 16, 3, 5)
    assert torch.allclose(PixelCodec(4).encode(*PixelCodec(4).decode(latent)), latent, atol=1e-6)


def test_a_latent_pixel_holds_its_own_block_of_each_modality_and_nothing_else() -> None:
    rgb, signal = torch.rand(1, 3, 8, 8), torch.randn(1, 1, 8, 8)
    before = PixelCodec(4).encode(rgb, signal)
    rgb[0, 1, 5, 2] += 0.25
    signal[0, 0, 1, 6] += 1
    changed = PixelCodec(4).encode(rgb, signal) != before
    assert changed.sum() == 2
    assert changed[0, :48, 1, 0].sum() == 1 and changed[0, 48:, 0, 1].sum() == 1


@pytest.mark.parametrize("hw", [(8, 12), (12, 8), (4, 4)])
def test_sides_that_are_no_multiple_of_the_block_are_refused(hw: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="multiples of 8"):
        PixelCodec(8).encode(torch.rand(1, 3, *hw), torch.rand(1, 1, *hw))
