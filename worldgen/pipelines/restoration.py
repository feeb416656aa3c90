"""Damaged posed images in, whole ones out, which agree with what was measured."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.image.coercion import OVERSHOOT, FramesLike, MapsLike, as_frames, as_maps, unit_range
from geometry.shapes import Bool, Float
from worldgen.core.clip import Clip
from worldgen.core.modalities import channels_of, column
from worldgen.core.normalization import require_scene_scale
from worldgen.models.codec.pixel import PixelCodec
from worldgen.models.world_model import WorldModel
from worldgen.sampling.denoiser import Denoiser
from worldgen.sampling.levels import Levels
from worldgen.sampling.noise import keyed_noise
from worldgen.sampling.restoration import LinearOperator, consistent, displayable, level_of_noise
from worldgen.sampling.sampler import sample
from worldgen.sampling.solvers import Euler

_NOISE = 3.0  # how far noise takes a measurement beyond 0..1


@dataclass(frozen=True)
class Restoration:
    """How to restore.

    steps  calls of the network
    start  the level the operator's guess is taken to be at: higher where more has to be invented. What is wrong with
           the guess stands for the noise there and none is added: repeated at one level, consistent estimates then end
           at the mean given the measurement (proved on a Gaussian in the tests), not in a draw around it
    seed   of the noise that depth and missing frames start from
    """

    steps: int = 8
    start: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1000:
            raise InputError(f"{self.steps} sampling steps; expected 1 to 1000")
        if not 0 < self.start < 1:
            raise InputError(f"restoration from level {self.start}; expected more than 0 and less than 1")


def restore(
    model: WorldModel,
    measured: MapsLike,
    cameras: Cameras,
    operator: LinearOperator,
    how: Restoration = Restoration(),
    scale: float | None = None,
    on_step: Callable[[], None] | None = None,
) -> Clip:
    """Restore images that were measured as y = A x, and estimate their depth.

    Frames help each other through their cameras. Those of which everything was measured are given to the network
    (level 0), those of which nothing was are unknown (level 1), the others start at `how.start`.

    Args:
        model: The model.
        measured: [f, 3, y, x] by `operator.apply` of images of the cameras' size. What no A x has, such as values of
            missing pixels or frequencies that a blur removes, is ignored.
        cameras: Batch shape [f], at most as many as the model was trained for.
        operator: A, such as `worldgen.sampling.restoration.Inpaint`.
        how: Steps, start and seed.
        scale: Metres per unit of the network (`worldgen.core.normalization`); None = from the cameras.
        on_step: Called after every sampling step.

    Returns:
        Images [f] in 0..1 and their depth. They have the measurement as nearly as `displayable` gets (2e-4 in
        `docs/results/restoration.json`; see `measurement_residual`).

    Raises:
        InputError: For shapes that do not fit, nothing or NaN measured, or cameras in one place without a scale.
    """
    _check(model, cameras)
    measured = as_maps(measured, "measured").float()
    expected = tuple(operator.apply(torch.zeros(len(cameras), 3, *cameras.hw)).shape)
    if tuple(measured.shape) != expected:
        raise InputError(f"a measurement of shape {tuple(measured.shape)}; expected {expected} for these cameras")
    measured = operator.apply(operator.pseudo_inverse(measured.to(model.device)))
    if not bool(measured.isfinite().all()):
        raise InputError("a measurement with NaN or infinite values; expected finite ones wherever something is known")
    unit_range(measured, "measured", _NOISE)
    whole, missing = _extent(operator, cameras)
    if bool(missing.all()):
        raise InputError("nothing was measured of any frame; expected something to restore from")
    first = torch.where(whole, 0.0, torch.where(missing, 1.0, how.start))
    denoiser = consistent(model.denoiser(), operator, measured[None], model.codec.decode, model.codec.encode)
    rgb, depth = _sampled(model, operator.guess(measured), first, cameras, denoiser, how, scale, on_step)
    return Clip(displayable(operator, measured, rgb), depth, cameras.to(model.device))


def denoise(
    model: WorldModel,
    noised: FramesLike,
    cameras: Cameras,
    sigma: float,
    how: Restoration = Restoration(steps=1),
    scale: float | None = None,
    on_step: Callable[[], None] | None = None,
) -> Clip:
    """Remove normal noise of a known standard deviation from images, and estimate their depth.

    The noised images are the sampler's state at the level with that much noise, so it continues from there: one step
    gives the posterior mean, more a sharper sample. A network that has an error of its own is no help against less
    noise than that (`docs/results`: `tiny` below 0.05).

    Args:
        model: The model, of a codec that does not mix pixels.
        noised: Colors in 0..1 before the noise, not clamped after it.
        cameras: Batch shape [f], at most as many as the model was trained for.
        sigma: The standard deviation of the noise.
        how: Steps and seed; `how.start` has no effect.
        scale: Metres per unit of the network; None = from the cameras.
        on_step: Called after every sampling step.

    Returns:
        Images [f] in 0..1 and their depth.

    Raises:
        InputError: As `restore` does, and for a model whose codec mixes pixels, where noise is not noise of a level.
    """
    _check(model, cameras)
    noised = as_frames(noised, "noised", beyond=OVERSHOOT + 10 * sigma)
    if tuple(noised.shape) != (len(cameras), 3, *cameras.hw):
        raise InputError(
            f"noised images of shape {tuple(noised.shape)}; expected {(len(cameras), 3, *cameras.hw)} for these cameras"
        )
    if not isinstance(model.codec, PixelCodec):
        raise InputError(f"denoising by a model in the latents of {model.config.codec_weights}; expected one of pixels")
    first = torch.full((len(cameras),), level_of_noise(sigma, model.config.process))
    denoiser = model.denoiser()
    rgb, depth = _sampled(model, noised.to(model.device), first, cameras, denoiser, how, scale, on_step)
    return Clip(rgb.clamp(0, 1), depth, cameras.to(model.device))


def _check(model: WorldModel, cameras: Cameras) -> None:
    if len(cameras.shape) != 1 or not 1 <= cameras.shape[0] <= model.config.frames:
        raise InputError(
            f"cameras of shape {tuple(cameras.shape)}; expected [f] with 1 to {model.config.frames} frames, the most "
            "this model takes at once (restore longer clips in pieces)"
        )


def _extent(operator: LinearOperator, cameras: Cameras) -> tuple[Bool[Tensor, "f"], Bool[Tensor, "f"]]:
    """Of which frames everything can be recovered from the measurement, and of which nothing: A+ A of some images
    is those images, or 0. (Almost all images tell; these are noise.)"""
    shape = (len(cameras), 3, *cameras.hw)
    probe = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    kept = operator.pseudo_inverse(operator.apply(probe))
    return (kept - probe).abs().flatten(1).amax(1) < 1e-4, kept.abs().flatten(1).amax(1) < 1e-6


def _sampled(
    model: WorldModel,
    guess: Float[Tensor, "f 3 h w"],
    first: Float[Tensor, "f"],
    cameras: Cameras,
    denoiser: Denoiser,
    how: Restoration,
    scale: float | None,
    on_step: Callable[[], None] | None,
) -> tuple[Float[Tensor, "f 3 h w"], Float[Tensor, "f 1 h w"]]:
    """Colors (not clamped) and depth, from a guess whose frames are at the levels `first`: noise is added to those at
    1, and what is between has its own."""
    device, modalities = model.device, model.modalities
    scale = require_scene_scale(cameras) if scale is None else scale
    if not 0 < scale < float("inf"):
        raise InputError(f"a scene scale of {scale} metres; expected more than 0")
    start = Clip(guess, torch.zeros_like(guess[:, :1]), cameras.to(device))
    batch = Clip(start.rgb[None], start.depth[None], start.cameras[None])
    signal, conditioning, normalization = model.encode(batch, torch.full((1,), float(scale), device=device))
    noise = keyed_noise(how.seed, list(range(len(guess))), model.channels, (signal.shape[-2], signal.shape[-1]))
    noise[:, (first > 0) & (first < 1), channels_of(modalities, "rgb")] = 0
    top = torch.ones(len(first), len(modalities))
    top[:, column(modalities, "rgb")] = first
    levels = Levels(torch.linspace(1, 0, how.steps + 1)[:, None, None] * top)
    x = signal
    with torch.inference_mode():
        for state in sample(denoiser, signal, noise.to(device), levels, conditioning, Euler()):
            x = state.x
            if on_step is not None:
                on_step()
    made = model.decode(x.clone(), normalization, batch.cameras, clamp=False)
    return made.rgb[0], made.depth[0]
