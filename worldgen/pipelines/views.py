"""Known frames in, new views out: one call of the sampler, for a batch of clips."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.cameras import Cameras
from geometry.errors import InputError
from geometry.shapes import Float
from worldgen.clip import Clip
from worldgen.conditioning import Conditioning
from worldgen.gauge import Gauge
from worldgen.model import WorldModel
from worldgen.sampling.guidance import Guidance, guide
from worldgen.sampling.levels import Levels
from worldgen.sampling.noise import KeyedNoise
from worldgen.sampling.process import Denoiser
from worldgen.sampling.ramps import shifted
from worldgen.sampling.sampler import sample
from worldgen.sampling.solvers import SOLVERS


@dataclass(frozen=True)
class Sampling:
    """How to sample.

    steps     rows of levels to go down; 1 with no guidance is the posterior mean
    guidance  scale towards the given pictures; 1 = none
    shift     more than 1 spends more steps at high levels
    """

    steps: int = 20
    guidance: float = 1.5
    solver: str = "euler"
    shift: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise InputError(f"solver {self.solver!r}; expected one of {', '.join(SOLVERS)}")
        if not 0 <= self.guidance <= 100:
            raise InputError(f"guidance {self.guidance}; expected 0 to 100")
        if not 1 <= self.steps <= 1000:
            raise InputError(f"{self.steps} sampling steps; expected 1 to 1000")


# The guided denoiser and what it is told, to the one that is sampled from.
Wrap = Callable[[Denoiser, Conditioning], Denoiser]

ONE_CALL = Sampling(steps=1, guidance=1.0)


def generate_views(
    model: WorldModel,
    known: Clip,
    targets: Cameras,
    scale: Float[Tensor, "b"],
    sampling: Sampling,
    frame_ids: list[int] | None = None,
    on_step: Callable[[], None] | None = None,
    guidance: Guidance | None = None,
    wrap: Wrap | None = None,
) -> Clip:
    """The known frames [b, k], unchanged, followed by what the targets' cameras [b, t] see.

    known      its depth is given to the model where the whole frame's is known (> 0); else it is estimated too
    scale      [b] metres a network unit: the scene scale (`worldgen.gauge`)
    frame_ids  numbers of all k + t frames, which key their noise (default 0, 1, ...)
    on_step    called after every sampling step
    guidance   every scale (default: `sampling.guidance` for the given pictures, 1 for the rest)
    wrap       puts something around the guided denoiser, such as `guide_by_energy`

    Raises InputError for no known frame, more frames than the model was trained for, or another picture size.
    """
    count, new = known.cameras.shape[1], targets.shape[1]
    frames, hw = count + new, known.cameras.hw
    if count < 1 or frames > model.config.frames or targets.hw != hw:
        raise InputError(
            f"{count} known and {new} new frames of sizes {hw} and {targets.hw}; expected at least 1 known, at most "
            f"{model.config.frames} in all, and one size"
        )
    device = model.device
    cameras = Cameras.cat([known.cameras, targets]).to(device)
    gauge = Gauge.of(cameras, scale.to(device))
    conditioning = Conditioning.of(gauge.normalise(cameras))
    known, codec = known.to(device), model.codec
    pad = (0, 0, 0, 0, 0, 0, 0, new)
    rgb = torch.nn.functional.pad(known.rgb, pad)
    has_depth = (known.depth > 0).flatten(2).all(-1).all(0)
    depth = torch.nn.functional.pad(torch.where(known.depth > 0, known.depth, torch.inf), pad, value=torch.inf)
    signal = codec.encode({"rgb": rgb, "depth": gauge.signal_from_depth(depth)})

    given = torch.zeros(frames, len(model.channels), dtype=torch.bool)
    given[:count, 0] = True
    given[:count, 1] = has_depth.cpu()
    levels = Levels.given(given, shifted(sampling.steps, sampling.shift))
    grid = (signal.shape[-2], signal.shape[-1])
    ids = list(range(frames)) if frame_ids is None else frame_ids
    keyed = KeyedNoise(sampling.seed, tuple(range(len(rgb))), tuple(ids), model.channels, grid)
    noise = keyed.start().to(device)
    guidance = Guidance(image=sampling.guidance) if guidance is None else guidance
    denoiser = guide(model.denoiser(), guidance, noise, model.config.network.modalities)
    if wrap is not None:
        denoiser = wrap(denoiser, conditioning)
    x = signal
    with torch.inference_mode():
        for state in sample(
            denoiser,
            signal,
            noise,
            levels,
            conditioning,
            SOLVERS[sampling.solver],
            model.channels,
            model.config.process,
            fresh=keyed,
        ):
            x = state.x
            if on_step is not None:
                on_step()
    pictures = codec.decode(x.clone())
    out_depth = gauge.depth_from_signal(pictures["depth"])
    out_depth[:, :count] = torch.where(known.depth > 0, known.depth, out_depth[:, :count])
    out_rgb = torch.cat([known.rgb, pictures["rgb"][:, count:].clamp(0, 1)], 1)
    return Clip(out_rgb, out_depth, cameras)
