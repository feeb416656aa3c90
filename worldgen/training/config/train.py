"""How a model is trained: length, batches, optimizer, weights of the loss, hardware."""

from dataclasses import dataclass

from worldgen.runtime.config import newer


@dataclass(frozen=True)
class TrainingStage:
    """A part of a run: its steps, and the size of their clips, whose number of frames is drawn anew every step.

    frames of 1 are single images, as in pre-training on images.
    """

    steps: int
    size_px: int
    batch: int
    frames: tuple[int, ...]


@dataclass(frozen=True)
class TrainConfig:
    """One run.

    budget_s      seconds for the whole run: its rate is measured once after the warm-up and fixes the number of steps,
                  at most `steps` (`worldgen.training.engine.budget`); None = `steps` steps
    frames        frames of a clip, drawn anew every step
    curriculum    stages before the last one, which has the run's batch, frames and the model's size; their steps are
                  part of `steps`
    averages, average_every  lengths of averages of the weights that are stored every `average_every` steps, of which
                  `worldgen average` makes one of any other length (`worldgen.training.engine.averages`)
    weighting     of the squared error by level, one of `worldgen.training.weighting.WEIGHTINGS`
    least_level   below it the weight stays what it is there
    depth_weight, layout_weight  of their losses beside the images'
    consistency_weight  of the cross-view disagreement of predicted images (still scenes); 0 = not computed
    alignment_weight, alignment_until  of the error of the geometry read from the middle block's tokens
                  (`worldgen.training.objectives.alignment`), for that share of the steps; of weight 0 not computed. Not
                  with a reward or a student
    checkpointing  recompute blocks in the backward pass: less memory, more time
    compile       compile each block (torch.compile): the first steps take longer, the others less
    parallel      how the processes torchrun starts share the model: "ddp" each has all of it, "fsdp" each has a part;
                  without effect on a single process
    context_parallel  processes that share each clip's frames, for long clips; the number of frames must be a multiple
    cooldown      the last share of the steps, over which the rate falls to 0
    precision     "bf16" computes matrix products in bfloat16 over float32 weights, "fp32" everything in float32;
                  "auto" is bf16 where the device has such arithmetic (a CPU without it takes eight times as long)
    render_ahead  processes beside each of those that train, which render the scenes of coming steps meanwhile, on one
                  thread each; 0 = they are rendered between steps. The weights are the same, bit for bit
    start_from    embedded name or folder whose weights the run starts from; parts it lacks (a modality, memory, text)
                  are added
    """

    seed: int = 0
    steps: int = 20_000
    budget_s: float | None = None
    batch: int = 16
    frames: tuple[int, ...] = (2, 3, 4, 4, 5, 6, 8)
    curriculum: tuple[TrainingStage, ...] = ()
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 200
    cooldown: float = 0.43
    clip_norm: float = 1.0
    ema: float = 0.999
    averages: tuple[float, ...] = ()
    average_every: int = 500
    weighting: str = "velocity"
    least_level: float = 0.2
    depth_weight: float = 0.3
    layout_weight: float = 0.3
    consistency_weight: float = 0.0
    alignment_weight: float = 0.0
    alignment_until: float = 0.6
    checkpointing: bool = False
    compile: bool = False
    parallel: str = "none"
    context_parallel: int = 1
    optimizer: str = "muon"
    precision: str = "auto"
    device: str = "auto"
    start_from: str | None = None
    checkpoint_every: int = 500
    sheet_every: int = 2000
    log_every: int = 20
    render_ahead: int = newer(0)
