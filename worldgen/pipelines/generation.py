"""Any mode: a clip of what is known, and a matrix of levels that says how the rest is generated."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float, Int
from worldgen.core.clip import Clip
from worldgen.core.conditioning import Conditioning, MemoryRender
from worldgen.core.modalities import MODALITIES, signals_of
from worldgen.core.normalization import Normalization
from worldgen.core.view_distance import overlap
from worldgen.models.world_model import WorldModel
from worldgen.sampling.denoiser import Denoiser
from worldgen.sampling.guidance import Guidance, guide
from worldgen.sampling.levels import Levels
from worldgen.sampling.noise import KeyedNoise
from worldgen.sampling.sampler import State, sample
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
    on_step: Callable[[State], None] | None = None,
) -> Clip:
    """Generate whatever the levels bring down to 0.

    Args:
        model: The model.
        clip: Clips [b, f]: the maps of the columns that are given, or start below level 1; the others may hold
            anything. Depth that is not known (0) counts as far away where it has to be noised.
        levels: [rows, f, modalities], columns in the model's order of modalities.
        prompt, memory, order: As of `WorldModel.encode`.
        scale: [b] metres per unit of the network (default: from the cameras; `worldgen.core.normalization`).
        solver: A key of `worldgen.sampling.SOLVERS`.
        guidance: A scale for each thing that can be left out.
        seed: Of the noise.
        frame_ids, clip_ids: Numbers of the frames and of the clips, which key their noise (default 0, 1, ...).
        window: Which frames are shown together (default, for more than the model was trained for: those near in time
            and with the same view).
        wrap: Puts something around the guided denoiser, such as `guide_by_energy`.
        on_step: Called with every state of the sampler.

    Returns:
        Clips [b, f] with every modality of the model. What is given comes back as it was; depth is 0 and other maps
        but rgb are NaN where their level never leaves 1.

    Raises:
        InputError: For levels, sizes or options that do not fit.
    """
    if solver not in SOLVERS:
        raise InputError(f"solver {solver!r}; expected one of {', '.join(SOLVERS)}")
    _check(model, clip, levels, scale, frame_ids, clip_ids)
    (batch, frames), device = clip.cameras.shape, model.device
    clip, scale = clip.to(device), None if scale is None else scale.to(device)
    known, conditioning, normalization = model.encode(clip, scale, prompt=prompt, memory=memory, order=order)
    numbers = [tuple(range(n) if ids is None else ids) for n, ids in ((batch, clip_ids), (frames, frame_ids))]
    noise = KeyedNoise(seed, numbers[0], numbers[1], model.channels, (known.shape[-2], known.shape[-1]))
    start = noise.start().to(device)
    if window is None and frames > model.config.frames:
        window = _window(conditioning, model.config.frames)
    denoiser = guide(model.denoiser(), guidance, start)
    denoiser = denoiser if wrap is None else wrap(denoiser, conditioning)
    x = known
    with torch.inference_mode():
        for state in sample(denoiser, known, start, levels, conditioning, SOLVERS[solver], fresh=noise, window=window):
            x = state.x
            if on_step is not None:
                on_step(state)
    made = model.decode(x.clone(), normalization, clip.cameras)
    return _with_given(model, clip, levels, normalization, made)


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


def _window(conditioning: Conditioning, limit: int) -> Window:
    """At most `limit` frames together, those near in time and with the same view."""
    cameras = conditioning.cameras[0]
    return Window(limit, overlap(cameras) + nearness(torch.arange(len(cameras)).to(cameras.K)))


def _with_given(model: WorldModel, clip: Clip, levels: Levels, normalization: Normalization, made: Clip) -> Clip:
    """What was generated, with the caller's own pixels where they were given, and nothing where nothing came about."""
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
