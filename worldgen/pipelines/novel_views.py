"""Known frames in, new views out: one call of the sampler, for a batch of clips."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.shapes import Float
from worldgen.core.clip import Clip
from worldgen.core.modalities import column
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.generation import Wrap, generate
from worldgen.runtime.progress import Counter, Report, shown
from worldgen.sampling.defaults import SamplingDefaults
from worldgen.sampling.guidance import Guidance
from worldgen.sampling.levels import Levels
from worldgen.sampling.sampler import SamplerState
from worldgen.sampling.schedules import shifted
from worldgen.sampling.solvers import SOLVERS


@dataclass(frozen=True)
class Sampling(SamplingDefaults):
    """How to sample; shift of more than 1 spends more steps at high levels."""

    solver: str = "euler"
    shift: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise InputError(f"solver {self.solver!r}; expected one of {', '.join(SOLVERS)}")
        super().__post_init__()

    @staticmethod
    def of(
        model: WorldModel, steps: int | None = None, guidance: float | None = None, solver: str = "euler", seed: int = 0
    ) -> "Sampling":
        """With the model's own steps and guidance (`ModelConfig.sampling`) where none are given."""
        own = model.config.sampling
        return Sampling(
            own.steps if steps is None else steps, own.guidance if guidance is None else guidance, solver, seed=seed
        )

    def calls(self, model: WorldModel) -> int:
        """How many steps a sample of a model takes, those of all its stages.

        Args:
            model: The model.

        Returns:
            Their number.
        """
        if model.coarse is None:
            return self.steps
        return self.calls(model.coarse) + min(self.steps, model.config.stage_steps)


ONE_CALL = Sampling(steps=1, guidance=1.0)


def generate_views(
    model: WorldModel,
    known: Clip,
    targets: Cameras,
    scale: Float[Tensor, "b"] | float | None = None,
    sampling: Sampling | None = None,
    frame_ids: list[int] | None = None,
    on_step: Callable[[], None] | None = None,
    guidance: Guidance | None = None,
    wrap: Wrap | None = None,
    progress: bool | Report = False,
) -> Clip:
    """Generate the views of some cameras from known frames, in one call of the sampler.

    Args:
        model: The model.
        known: Known frames [b, k]. Their depth is given to the model where all of a frame's is known (> 0); else it is
            estimated too.
        targets: Cameras [b, t] of the new views.
        scale: [b] the scene scale: how far away the scene is, in the unit of the cameras, which the network takes as 1.
            One number is that of every clip; default: from all cameras, or where they are in one place from the known
            depth of the first frame (`worldgen.core.normalization.scene_scale`).
        sampling: Steps, solver, guidance towards the given images, and seed (default: the model's own).
        frame_ids: Numbers of all k + t frames, which key their noise (default 0, 1, ...).
        on_step: Called after every sampling step.
        guidance: Every scale (default: `sampling.guidance` for the given images, 1 for the rest).
        wrap: Puts something around the guided denoiser, such as `guide_by_energy`.
        progress: Whether to show it on stderr, or a function that is called with the share of the work that is done.

    Returns:
        Clips [b, k + t]: the known frames, unchanged where they were known, then the new views, with depth.

    Raises:
        InputError: For no known frame, more frames than the model was trained for, another image size, or colors that
            `geometry.as_frames` refuses.
    """
    sampling = Sampling.of(model) if sampling is None else sampling
    if isinstance(scale, int | float):
        scale = torch.full((len(known.rgb),), float(scale))
    clip = _joined(model, known, targets)
    count, frames = known.cameras.shape[1], clip.cameras.shape[1]
    given = torch.zeros(frames, len(model.modalities), dtype=torch.bool)
    given[:count, column(model.modalities, "rgb")] = True
    given[:, column(model.modalities, "depth")] = (clip.depth > 0).flatten(2).all(-1).all(0).cpu()
    with shown(progress) as report:
        made = generate(
            model,
            clip,
            Levels.given(given, shifted(sampling.steps, sampling.shift)),
            scale=scale,
            solver=sampling.solver,
            guidance=Guidance(image=sampling.guidance) if guidance is None else guidance,
            seed=sampling.seed,
            frame_ids=frame_ids,
            wrap=wrap,
            on_step=_after_step(Counter(report, "sampling", sampling.calls(model)), on_step),
        )
    return replace(made, depth=torch.where(clip.depth > 0, clip.depth, made.depth))


def _after_step(counter: Counter, on_step: Callable[[], None] | None) -> Callable[[SamplerState], None]:
    def call(_: SamplerState) -> None:
        counter()
        if on_step is not None:
            on_step()

    return call


def _joined(model: WorldModel, known: Clip, targets: Cameras) -> Clip:
    """The known frames and room for those of the targets, on the model's device."""
    count, new = known.cameras.shape[1], targets.shape[1]
    hw = known.cameras.hw
    if count < 1 or count + new > model.config.frames or targets.hw != hw:
        raise InputError(
            f"{count} known and {new} new frames of sizes {hw} and {targets.hw}; expected at least 1 known, at most "
            f"{model.config.frames} in all, and one size"
        )
    pad = (0, 0, 0, 0, 0, 0, 0, new)
    rgb, depth = (torch.nn.functional.pad(part, pad) for part in (known.rgb, known.depth))
    return Clip(rgb, depth, Cameras.cat([known.cameras, targets])).to(model.device)
