"""Any mode: a clip of what is known, and a matrix of levels that says how the rest comes into being."""

from collections.abc import Callable

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float
from worldgen.core.clip import Clip
from worldgen.core.conditioning import Conditioning
from worldgen.core.normalization import Normalization, scene_scale
from worldgen.core.view_distance import overlap
from worldgen.models.world_model import WorldModel
from worldgen.sampling.denoiser import Denoiser
from worldgen.sampling.guidance import Guidance, guide
from worldgen.sampling.levels import Levels
from worldgen.sampling.noise import KeyedNoise
from worldgen.sampling.sampler import State, sample
from worldgen.sampling.solvers import SOLVERS
from worldgen.sampling.windows import Window, nearness

# The guided denoiser and what it is told, to the one that is sampled from.
Wrap = Callable[[Denoiser, Conditioning], Denoiser]
_PLAIN = Guidance()


def generate(
    model: WorldModel,
    clip: Clip,
    levels: Levels,
    *,
    scale: Float[Tensor, "b"] | None = None,
    solver: str = "euler",
    guidance: Guidance = _PLAIN,
    seed: int = 0,
    frame_ids: list[int] | None = None,
    clip_ids: list[int] | None = None,
    window: Window | None = None,
    wrap: Wrap | None = None,
    on_step: Callable[[State], None] | None = None,
) -> Clip:
    """The clip [b, f] with all that the levels bring into being; what is given comes back as it was.

    clip       images and depth of the columns that are given, or start below level 1; the others may hold anything.
               Depth that is not known (0) counts as far away where it has to be noised
    levels     [rows, f, modalities] in the model's order of modalities
    scale      [b] metres a network unit (default: from the cameras; `worldgen.core.normalization`)
    frame_ids, clip_ids  numbers of the frames and of the clips, which key their noise (default 0, 1, ...)
    window     default, for more frames than the model was trained for: frames near in time that see the same
    wrap       a last say in the denoiser, such as `guide_by_energy`
    on_step    called with every state

    Depth is 0 where its level never leaves 1. Raises InputError for levels, sizes or options that do not fit.
    """
    if solver not in SOLVERS:
        raise InputError(f"solver {solver!r}; expected one of {', '.join(SOLVERS)}")
    _check(model, clip, levels, scale, frame_ids, clip_ids)
    (batch, frames), device = clip.cameras.shape, model.device
    clip = clip.to(device)
    normalization = Normalization.of(clip.cameras, scene_scale(clip) if scale is None else scale.to(device))
    conditioning = Conditioning.of(normalization.normalize(clip.cameras))
    signals = {
        "rgb": clip.rgb,
        "depth": normalization.signal_from_depth(torch.where(clip.depth > 0, clip.depth, torch.inf)),
    }
    known = model.codec.encode(signals | ({} if clip.layout is None else {"layout": clip.layout}))
    numbers = [tuple(range(n) if ids is None else ids) for n, ids in ((batch, clip_ids), (frames, frame_ids))]
    noise = KeyedNoise(seed, numbers[0], numbers[1], model.channels, (known.shape[-2], known.shape[-1]))
    start = noise.start().to(device)
    if window is None and frames > model.config.frames:
        cameras = conditioning.cameras[0]
        closeness = overlap(cameras) + nearness(torch.arange(frames).to(cameras.K))
        window = Window(model.config.frames, closeness)
    denoiser = guide(model.denoiser(), guidance, start)
    denoiser = denoiser if wrap is None else wrap(denoiser, conditioning)
    x = known
    with torch.inference_mode():
        for state in sample(denoiser, known, start, levels, conditioning, SOLVERS[solver], fresh=noise, window=window):
            x = state.x
            if on_step is not None:
                on_step(state)
    return _answer(model, clip, levels, normalization, x.clone())


def _check(
    model: WorldModel,
    clip: Clip,
    levels: Levels,
    scale: Tensor | None,
    frame_ids: list[int] | None,
    clip_ids: list[int] | None,
) -> None:
    if len(clip.cameras.shape) != 2:
        raise InputError(f"a clip of cameras {tuple(clip.cameras.shape)}; expected [b, f], a batch of clips")
    batch, frames = clip.cameras.shape
    modalities = list(model.config.network.modalities)
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


def _answer(model: WorldModel, clip: Clip, levels: Levels, normalization: Normalization, x: Tensor) -> Clip:
    """What was generated, and the caller's own pixels where they were given."""
    out = model.codec.decode(x)
    rgb, depth = out["rgb"].clamp(0, 1), normalization.depth_from_signal(out["depth"])
    given = levels.still & (levels.matrix[0] < 1)
    unknown = levels.still & (levels.matrix[0] == 1)
    given, unknown = (part[..., None, None, None].to(rgb.device) for part in (given, unknown))
    depth = torch.where(unknown[:, 1], 0.0, depth)
    depth = torch.where(given[:, 1] & (clip.depth > 0), clip.depth, depth)
    return Clip(torch.where(given[:, 0], clip.rgb, rgb), depth, clip.cameras)
