"""Any mode: a clip of what is known, and a matrix of levels by which the rest is generated."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.image.coercion import unit_range
from geometry.shapes import Float, Int
from worldgen.core.clip import LOOKED_UP, Clip
from worldgen.core.conditioning import Conditioning, MemoryRender
from worldgen.core.modalities import MODALITIES, column, signals_of
from worldgen.core.normalization import Normalization
from worldgen.core.view_distance import overlap
from worldgen.models.network.protocol import Network
from worldgen.models.network.unet.network import MultiViewUNet
from worldgen.models.world_model import WorldModel
from worldgen.sampling.denoiser import Denoiser
from worldgen.sampling.guidance import Guidance, guide
from worldgen.sampling.levels import Levels
from worldgen.sampling.noise import KeyedNoise
from worldgen.sampling.sampler import SamplerState, sample
from worldgen.sampling.solvers import SOLVERS
from worldgen.sampling.windows import Window, nearness

# The guided denoiser and its conditioning -> the denoiser that is sampled from.
Wrap = Callable[[Denoiser, Conditioning], Denoiser]
_PLAIN = Guidance()


def generate(
    model: WorldModel,
    clip: Clip,
    levels: Levels,
    *,
    prompt: str | Sequence[str] | None = None,
    memory: MemoryRender | None = None,
    order: Int[Tensor, "b f"] | None = None,
    scale: Float[Tensor, "b"] | None = None,
    solver: str = "euler",
    guidance: Guidance = _PLAIN,
    seed: int = 0,
    frame_ids: list[int] | None = None,
    clip_ids: list[int] | None = None,
    window: Window | None = None,
    wrap: Wrap | None = None,
    on_step: Callable[[SamplerState], None] | None = None,
) -> Clip:
    """Generate whatever the levels bring down to 0.

    Args:
        model: The model.
        clip: Clips [b, f]: the maps of columns that are given, or start below level 1; others may hold anything.
        levels: [rows, f, modalities], columns in the model's order of modalities.
        prompt, memory, order: As of `WorldModel.encode`.
        scale: [b] metres per unit of the network (default: `worldgen.core.normalization.scene_scale`).
        solver: A key of `worldgen.sampling.SOLVERS`.
        guidance: A scale for each thing that can be left out.
        seed, frame_ids, clip_ids: What keys the noise; numbers of frames and clips (default 0, 1, ...).
        window: Which frames go together (default, for more than the model takes: near in time and view).
        wrap: Puts something around the guided denoiser, such as `guide_by_energy`.
        on_step: Called with every state of the sampler.

    Returns:
        Clips [b, f] with every modality. What is given comes back as it was; depth is 0, and maps other than rgb NaN,
        where their level never leaves 1.

    Raises:
        InputError: For levels, sizes or options that do not fit.
    """
    _check(model, clip, levels, solver, scale, frame_ids, clip_ids)
    clip, scale = clip.to(model.device), None if scale is None else scale.to(model.device)
    coarse = None
    if model.coarse is not None:
        shared = {"order": order, "scale": scale, "solver": solver, "guidance": guidance, "window": window}
        keys = {"seed": seed, "frame_ids": frame_ids, "clip_ids": clip_ids, "on_step": on_step}
        coarse = _first_stage(model.coarse, clip, levels, prompt=prompt, memory=memory, **shared, **keys)
        # What was guided is in the coarse clip: the second stage only finds its details.
        prompt, memory, guidance, levels = None, None, _PLAIN, levels.thinned(model.config.stage_steps)
    encoded = model.encode(clip, scale, prompt=prompt, memory=memory, order=order, coarse=coarse)
    if window is None and clip.cameras.shape[1] > model.config.frames:
        window = _window(encoded.conditioning, model.config.frames)
    noise = _keyed_noise(model, x := encoded.latent, seed, frame_ids, clip_ids)
    start = noise.start().to(model.device)
    watched = WatchedNetwork(model.network)
    guided = guide(model.denoiser(watched), guidance, start)
    denoiser = guided if wrap is None else wrap(guided, encoded.conditioning)
    states = sample(denoiser, x, start, levels, encoded.conditioning, SOLVERS[solver], fresh=noise, window=window)
    made = _with_given(model, clip, levels, encoded.normalization, _last(states, x, on_step).clone())
    return made.with_maps(watched.maps(made.cameras))


class WatchedNetwork:
    """A network that remembers which share of each color its last call looked up in other frames, if it does so.

    Args:
        network: Any network.
    """

    def __init__(self, network: Network):
        self.network = network
        self._looked_up: Tensor | None = None

    def __call__(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        """The network's estimate."""
        if not isinstance(self.network, MultiViewUNet):
            return self.network(x, level, conditioning)
        estimate, details = self.network(x, level, conditioning, tap=0)
        self._looked_up = details.blend.looked_up.detach()
        return estimate

    def maps(self, cameras: Cameras) -> dict[str, Tensor]:
        """The share [b, f, 1, h, w] by its name in clips of these cameras; nothing if the last call was of others."""
        share = self._looked_up
        fits = share is not None and share.shape == (*cameras.shape, 1, *cameras.hw)
        return {LOOKED_UP: share.clone()} if share is not None and fits else {}


@torch.inference_mode()
def _last(states: Iterator[SamplerState], x: Tensor, on_step: Callable[[SamplerState], None] | None) -> Tensor:
    """The frames that a sampler ends at."""
    for state in states:
        x = state.x
        if on_step is not None:
            on_step(state)
    return x


def _keyed_noise(
    model: WorldModel, x: Tensor, seed: int, frame_ids: list[int] | None, clip_ids: list[int] | None
) -> KeyedNoise:
    batch, frames = x.shape[:2]
    numbers = [tuple(range(n) if ids is None else ids) for n, ids in ((batch, clip_ids), (frames, frame_ids))]
    return KeyedNoise(seed, numbers[0], numbers[1], model.channels, (x.shape[-2], x.shape[-1]))


def _first_stage(first: WorldModel, clip: Clip, levels: Levels, **options: Any) -> Clip:
    """What a first stage generates of a clip, at its own size."""
    return generate(first, clip.shrunk(first.config.size_within(clip.cameras.hw)), levels, **options)


def _check(
    model: WorldModel,
    clip: Clip,
    levels: Levels,
    solver: str,
    scale: Tensor | None,
    frame_ids: list[int] | None,
    clip_ids: list[int] | None,
) -> None:
    if solver not in SOLVERS:
        raise InputError(f"solver {solver!r}; expected one of {', '.join(SOLVERS)}")
    if len(clip.cameras.shape) != 2:
        raise InputError(f"a clip of cameras {tuple(clip.cameras.shape)}; expected [b, f], a batch of clips")
    batch, frames = clip.cameras.shape
    modalities = list(model.modalities)
    for name, ids, count in (("frame_ids", frame_ids, frames), ("clip_ids", clip_ids, batch)):
        if ids is not None and len(ids) != count:
            raise InputError(f"{len(ids)} {name}; expected {count}")
    if scale is not None and (tuple(scale.shape) != (batch,) or not bool((scale > 0).all())):
        raise InputError(f"scene scales {scale.tolist()}; expected {batch}, more than 0")
    if levels.matrix.shape[1:] != (frames, len(modalities)):
        raise InputError(
            f"levels of {levels.matrix.shape[1]} frames and {levels.matrix.shape[2]} modalities; expected {frames} and "
            f"{len(modalities)} ({', '.join(modalities)})"
        )
    multiple, (height, width) = model.config.multiple, clip.cameras.hw
    if height % multiple or width % multiple:
        raise InputError(f"frames of {width}x{height} pixels; expected multiples of {multiple}")
    starts = (levels.matrix[0] < 1)[:, column(modalities, "rgb")]  # other frames may hold anything
    unit_range(clip.rgb[:, starts.to(clip.rgb.device)], "clip: rgb")


def _window(conditioning: Conditioning, limit: int) -> Window:
    """At most `limit` frames together, those near in time and with the same view."""
    cameras = conditioning.cameras[0]
    return Window(limit, overlap(cameras) + nearness(torch.arange(len(cameras)).to(cameras.K)))


def _with_given(model: WorldModel, clip: Clip, levels: Levels, normalization: Normalization, x: Tensor) -> Clip:
    """What was generated, with the caller's own pixels where they were given, and nothing where nothing came about."""
    made = model.decode(x, normalization, clip.cameras)
    given = levels.still & (levels.matrix[0] < 1)
    never = levels.still & (levels.matrix[0] == 1)
    given, never = (part[..., None, None, None].to(made.rgb.device) for part in (given, never))
    _, known = signals_of(clip, normalization, model.modalities)
    own, maps = clip.maps(), made.maps()
    for index, name in enumerate(model.modalities):
        unknown = MODALITIES[name].unknown
        if unknown is not None:
            maps[name] = torch.where(never[:, index], unknown, maps[name])
        if name in own:
            there = given[:, index] & known[name] if name in known else given[:, index]
            maps[name] = torch.where(there, own[name], maps[name])
    return Clip.of_maps(maps, clip.cameras)
