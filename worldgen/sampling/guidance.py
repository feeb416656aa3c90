"""Classifier-free guidance: the other branch is a pattern of levels."""

import torch
from torch import Tensor

from worldgen.conditioning import Conditioning
from worldgen.sampling.process import Denoiser, per_channel


def guide_given(denoiser: Denoiser, scale: float, noise: Tensor, channels: tuple[int, ...]) -> Denoiser:
    """Guide towards the given columns: x0 = other + scale (x0 - other).

    The other branch sees what is given (level 0) at level 1, replaced by that column's own noise: the same network
    knowing nothing (Ho & Salimans 2022, eq. 6, with levels in place of a null label). Both branches run as one batch.
    scale 1 is the plain denoiser, at no cost.
    """
    if scale == 1:
        return denoiser

    def guided(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        given = level == 0
        if not bool(given.any()):
            return denoiser(x, level, conditioning)
        blind_level = torch.where(given, 1.0, level)
        blind_x = torch.where(per_channel(given.to(x), channels) > 0, noise.expand_as(x), x)
        both = denoiser(
            torch.cat([x, blind_x]), torch.cat([level, blind_level]), Conditioning.cat([conditioning, conditioning])
        )
        seeing, blind = both.chunk(2)
        return blind + scale * (seeing - blind)

    return guided
