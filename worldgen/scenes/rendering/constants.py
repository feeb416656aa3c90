"""Numbers that the torch reference and the numba renderer share."""

import torch
from torch import Tensor

SHADOW_BIAS = 1e-3  # metres, and share of a lamp's distance, by which shadow rays keep off surfaces
NEAREST_LAMP_M = 0.2  # nearer than that a lamp gets no brighter
GRAZING = 1e-2  # sine of the least angle to the image plane at which a point still has a pixel position
UNSEEN = 1e-3  # share of the distance by which a point may be missed and still count as seen
BUNDLE = 16  # pixels on a side of the square of rays that are traced together
OCTAVES = 5  # of the noise in textures
WAVES_PER_OCTAVE = 5


def octave_waves(octave: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Wave vectors and phases [waves, 4] of one octave: spread over the half sphere, other ones in every octave."""
    index = torch.arange(WAVES_PER_OCTAVE, dtype=torch.float64) + 0.5
    azimuth = 2.399963 * (index + 1.7 * octave) + 0.9 * octave  # the golden angle
    height = 1 - index / WAVES_PER_OCTAVE
    ring = (1 - height * height).sqrt()
    length = 0.8 + 0.5 * ((index * 0.618 + 0.37 * octave) % 1)
    phase = 12.9898 * (index + WAVES_PER_OCTAVE * octave)
    vectors = torch.stack([ring * azimuth.cos(), ring * azimuth.sin(), height], -1) * length[:, None]
    return torch.cat([vectors, phase[:, None]], -1).to(device=device, dtype=dtype)
