"""Restoration by data consistency: what was measured of the images replaces that part of every clean estimate.

A measurement is a linear operator A on images, y = A x. With an inverse A+ (A A+ A = A) an estimate x0 becomes
x0 + A+ (y - A x0): the measured part is y's, the rest, which A cannot see, stays the network's (Wang et al. 2022,
"Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model", eq. 13). Noise of known strength needs no
operator, since a noised image is what the sampler sees at some level: `level_of_noise`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from einops import reduce
from torch import Tensor

from geometry.errors import InputError
from geometry.image.warping import fill_nearest
from geometry.shapes import Bool, Float
from geometry.values import as_value
from worldgen.core.conditioning import Conditioning
from worldgen.sampling.denoiser import Denoiser, FunctionDenoiser
from worldgen.sampling.process import Process

LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709


@runtime_checkable
class LinearOperator(Protocol):
    """What was measured of images. A and A+ are linear, with A A+ A = A, and take each frame by itself."""

    def apply(self, rgb: Float[Tensor, "*b f 3 h w"]) -> Float[Tensor, "*b f 3 y x"]:
        """A: the measurement of images. Raises InputError for sizes that do not fit."""
        ...

    def pseudo_inverse(self, measured: Float[Tensor, "*b f 3 y x"]) -> Float[Tensor, "*b f 3 h w"]:
        """A+: images with this measurement, where there are any."""
        ...

    def guess(self, measured: Float[Tensor, "*b f 3 y x"]) -> Float[Tensor, "*b f 3 h w"]:
        """The obvious answer without a network: where sampling starts, and what it has to beat."""
        ...


@as_value
@dataclass(frozen=True)
class Inpaint:
    """Some pixels are known, the others are not: A is a diagonal of ones and zeros, and its own pseudo-inverse.

    known  [*b, f, 1, h, w], of every frame; one without any is missing
    """

    known: Bool[Tensor, "*b f 1 h w"]

    def apply(self, rgb: Float[Tensor, "*b f 3 h w"]) -> Float[Tensor, "*b f 3 h w"]:
        """The images, 0 where unknown, whatever (also NaN) stood there."""
        if (rgb.shape[-4], *rgb.shape[-2:]) != (self.known.shape[-4], *self.known.shape[-2:]):
            raise InputError(
                f"a mask of shape {tuple(self.known.shape)} for images {tuple(rgb.shape)}; expected the same frames "
                "and size"
            )
        return torch.where(self.known.to(rgb.device), rgb, 0.0)

    def pseudo_inverse(self, measured: Float[Tensor, "*b f 3 h w"]) -> Float[Tensor, "*b f 3 h w"]:
        """The same."""
        return self.apply(measured)

    def guess(self, measured: Float[Tensor, "*b f 3 h w"]) -> Float[Tensor, "*b f 3 h w"]:
        """Each pixel takes the nearest known one's color; missing frames stay black."""
        rgb = self.apply(measured)
        return fill_nearest(rgb, self.known.to(rgb.device).expand_as(rgb[..., :1, :, :]))


@dataclass(frozen=True)
class Downsample:
    """Smaller images: each pixel is the mean of a block of `factor` x `factor`."""

    factor: int

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise InputError(f"factor {self.factor}; expected 1 or more")

    def apply(self, rgb: Float[Tensor, "*b f 3 h w"]) -> Float[Tensor, "*b f 3 y x"]:
        """Block means."""
        height, width = rgb.shape[-2:]
        if height % self.factor or width % self.factor:
            raise InputError(f"images of {width}x{height} pixels by {self.factor}; expected sides it divides")
        return reduce(rgb, "... (y p) (x q) -> ... y x", "mean", p=self.factor, q=self.factor)

    def pseudo_inverse(self, measured: Float[Tensor, "*b f 3 y x"]) -> Float[Tensor, "*b f 3 h w"]:
        """Each mean in its whole block (nearest neighbor)."""
        return measured.repeat_interleave(self.factor, -1).repeat_interleave(self.factor, -2)

    def guess(self, measured: Float[Tensor, "*b f 3 y x"]) -> Float[Tensor, "*b f 3 h w"]:
        """Bicubic interpolation, clamped to 0..1."""
        flat = measured.flatten(0, -4)
        large = F.interpolate(flat, scale_factor=self.factor, mode="bicubic", align_corners=False)
        return large.clamp(0, 1).unflatten(0, measured.shape[:-3])


@as_value
@dataclass(frozen=True)
class Gray:
    """Frames that are not in color: each channel is luma, the weighted sum of sRGB values.

    A is a projection and so its own inverse, in the sense of A A+ A = A. What it cannot see, the differences between
    channels, stays the estimate's. (The inverse of least norm would share luma out along the weights, and so tint green
    whatever it lightens.)

    colored  [*b, f] frames in full color
    weights   of red, green and blue; their sum is 1
    """

    colored: Bool[Tensor, "*b f"]
    weights: tuple[float, float, float] = LUMA

    def __post_init__(self) -> None:
        if abs(sum(self.weights) - 1) > 1e-6:
            raise InputError(f"weights of gray {self.weights}; expected a sum of 1")

    def apply(self, rgb: Float[Tensor, "*b f 3 h w"]) -> Float[Tensor, "*b f 3 h w"]:
        """Luma in all three channels; colored frames as they are."""
        if self.colored.shape[-1] != rgb.shape[-4]:
            raise InputError(f"{self.colored.shape[-1]} frames in color or not, for {rgb.shape[-4]} images")
        luma = (rgb * rgb.new_tensor(self.weights)[:, None, None]).sum(-3, keepdim=True)
        return torch.where(self.colored[..., None, None, None].to(rgb.device), rgb, luma)

    def pseudo_inverse(self, measured: Float[Tensor, "*b f 3 h w"]) -> Float[Tensor, "*b f 3 h w"]:
        """The same."""
        return self.apply(measured)

    def guess(self, measured: Float[Tensor, "*b f 3 h w"]) -> Float[Tensor, "*b f 3 h w"]:
        """The gray images."""
        return self.apply(measured)


@as_value
@dataclass(frozen=True)
class Blur:
    """Blurred by a kernel that is symmetric in both axes; images go on beyond their border as in a mirror.

    A mirror because images do not wrap, as circular boundaries would have it, and because together with symmetry it
    makes A diagonal in the cosine basis (DCT-II; Strang 1999), so that its exact pseudo-inverse costs four small
    products and no decomposition. Frequencies of which less than `least` passes count as not measured: A is without
    them, and its inverse does not blow up their noise.

    kernel  [k, l], odd sides
    least   share of a frequency's amplitude that passes, of the largest. A+ makes noise up to 1 / least times larger:
            the default suits the rounding of 8 bits, noisy images want more, exact ones can do with 1e-3
    """

    kernel: Float[Tensor, "k l"]
    least: float = 0.02

    def __post_init__(self) -> None:
        kernel = self.kernel
        symmetric = torch.equal(kernel, kernel.flip(0)) and torch.equal(kernel, kernel.flip(1))
        if kernel.ndim != 2 or not (kernel.shape[0] % 2 and kernel.shape[1] % 2 and symmetric):
            raise InputError(
                f"a blur kernel of shape {tuple(kernel.shape)}; expected odd sides and symmetry in both axes"
            )
        if not 0 < self.least < 1:
            raise InputError(f"least {self.least}; expected more than 0 and less than 1")

    @staticmethod
    def gaussian(sigma_px: float, least: float = 0.02) -> "Blur":
        """A Gaussian of standard deviation `sigma_px`, cut at four of them."""
        if not 0 < sigma_px < 100:
            raise InputError(f"a blur of {sigma_px} pixels; expected more than 0 and less than 100")
        reach = max(1, round(4 * sigma_px))
        row = (-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma_px).square()).exp()
        row = row / row.sum()
        return Blur(row[:, None] * row, least)

    def apply(self, rgb: Float[Tensor, "*b f 3 h w"]) -> Float[Tensor, "*b f 3 h w"]:
        """The blurred images."""
        return self._filtered(rgb, lambda passes: passes)

    def pseudo_inverse(self, measured: Float[Tensor, "*b f 3 h w"]) -> Float[Tensor, "*b f 3 h w"]:
        """Every frequency that was measured at its full amplitude, the others 0."""
        return self._filtered(measured, lambda passes: torch.where(passes == 0, 0.0, 1 / passes))

    def guess(self, measured: Float[Tensor, "*b f 3 h w"]) -> Float[Tensor, "*b f 3 h w"]:
        """A+ y: sharp where frequencies were measured, with ringing beyond."""
        return self.pseudo_inverse(measured)

    def _filtered(self, images: Tensor, gain: Callable[[Tensor], Tensor]) -> Tensor:
        """Float64 inside: gains reach 1 / least."""
        down, across = (_cosines(size).to(images.device) for size in images.shape[-2:])
        spectrum = down @ images.double() @ across.T
        passes = self._passes(images.shape[-2], images.shape[-1]).to(images.device)
        return (down.T @ (gain(passes) * spectrum) @ across).to(images.dtype)

    def _passes(self, height: int, width: int) -> Float[Tensor, "h w"]:
        """How much of each frequency's amplitude passes: the kernel's cosine transform."""
        rows, columns = (
            torch.cos(torch.pi * torch.arange(size)[:, None].double() / size * (torch.arange(side) - side // 2))
            for size, side in zip((height, width), self.kernel.shape)
        )
        passes = rows @ self.kernel.double().cpu() @ columns.T
        return torch.where(passes.abs() < self.least * passes.abs().max(), 0.0, passes)


def _cosines(size: int) -> Float[Tensor, "n n"]:
    """The orthonormal DCT-II: row m is the cosine of frequency m at pixel centers."""
    m = torch.arange(size, dtype=torch.float64)[:, None]
    rows = torch.cos(torch.pi * m * (torch.arange(size) + 0.5) / size) * (2 / size) ** 0.5
    return torch.where(m == 0, rows / 2**0.5, rows)


def project(
    operator: LinearOperator, measured: Float[Tensor, "*b f 3 y x"], rgb: Float[Tensor, "*b f 3 h w"]
) -> Float[Tensor, "*b f 3 h w"]:
    """Images made to have this measurement: x + A+ (y - A x)."""
    return rgb + operator.pseudo_inverse(measured - operator.apply(rgb))


def measurement_residual(
    operator: LinearOperator, measured: Float[Tensor, "*b f 3 y x"], rgb: Float[Tensor, "*b f 3 h w"]
) -> float:
    """The largest |A x - y|, in units of colors in 0..1."""
    return float((operator.apply(rgb) - measured).abs().max())


def displayable(
    operator: LinearOperator,
    measured: Float[Tensor, "*b f 3 y x"],
    rgb: Float[Tensor, "*b f 3 h w"],
    residual: float = 2e-4,
    rounds: int = 200,
) -> Float[Tensor, "*b f 3 h w"]:
    """Images in 0..1 with this measurement: projected and clamped in turn until the residual is that small.

    Both sets are convex, so this converges where they meet (alternating projections; Bregman 1965), that is for every
    measurement of images in 0..1; another one ends after `rounds` with the residual that is left.
    """
    for _ in range(rounds):
        rgb = project(operator, measured, rgb).clamp(0, 1)
        if measurement_residual(operator, measured, rgb) < residual:
            break
    return rgb


def consistent(
    denoiser: Denoiser,
    operator: LinearOperator,
    measured: Float[Tensor, "*b f 3 y x"],
    decode: Callable[[Tensor], dict[str, Tensor]],
    encode: Callable[[Mapping[str, Tensor]], Tensor],
) -> Denoiser:
    """The denoiser whose estimates have this measurement.

    measured        of images in 0..1; the same for every sample where the batch is one of samples
    decode, encode  between latent frames and {"rgb": images in 0..1, ...} (`worldgen.models.codec.protocol.Codec`)
    """

    def estimate(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        signals = decode(denoiser(x, level, conditioning))
        rgb = signals["rgb"]
        return encode(signals | {"rgb": project(operator, measured.expand(*rgb.shape[:-3], -1, -1, -1), rgb)})

    return FunctionDenoiser.like(denoiser, estimate)


def level_of_noise(sigma: float, process: Process) -> float:
    """The level at which a process has noise of standard deviation `sigma`, for colors in 0..1.

    There x = alpha x0 + sigma' noise is alpha times an image with noise of sigma' / alpha, which is 2 sigma since
    signals are 2 rgb - 1. So a noised image times alpha *is* the sampler's state at that level.

    Raises InputError unless sigma is finite and more than 0.
    """
    if not 0 < sigma < float("inf"):
        raise InputError(f"noise of standard deviation {sigma}; expected more than 0, for colors in 0..1")
    return float(process.level_of(torch.tensor(2 * sigma, dtype=torch.float64)))
