"""A codec's training run: one file that says everything about it."""

from dataclasses import dataclass, field
from pathlib import Path

from geometry.errors import InputError
from worldgen.models.codec.vae import ConvVAEConfig
from worldgen.models.config import ModelConfig
from worldgen.training.config.data import DataConfig
from worldgen.training.config.run import RunConfig
from worldgen.training.config.train import TrainConfig


@dataclass(frozen=True)
class CodecLoss:
    """What is added to the mean absolute error, and the range of depth signals.

    gradient      weight of the mean absolute error of differences between neighboring pixels
    kl            weight of the mean KL divergence of a latent from a standard normal
    scale_jitter  the scene scale is multiplied or divided by up to this
    """

    gradient: float = 0.5
    kl: float = 1e-4
    scale_jitter: float = 1.4

    def __post_init__(self) -> None:
        if min(self.gradient, self.kl) < 0 or self.scale_jitter < 1:
            raise InputError(f"{self}; expected weights of 0 or more and a scale_jitter of 1 or more")


@dataclass(frozen=True)
class CodecRun:
    """A codec's training run (`worldgen train-codec`).

    A codec of images takes `train.frames` of each clip. One with frames in groups takes all `data.views` in the order
    of time, which have to fill the groups; clips that are not a video of one camera give it single images.

    Args:
        output: Folder for everything the run leaves.
        codec: What is trained.
        size_px: Side of the images.
        loss: Parts of the loss beside the mean absolute error.
        data: Where the clips come from.
        train: How long, how fast, on what; `depth_weight` is that of the depth signal's errors beside those of rgb.

    Raises:
        InputError: A run that cannot work, before anything of it starts.
    """

    output: Path
    codec: ConvVAEConfig = field(default_factory=ConvVAEConfig)
    size_px: int = 64
    loss: CodecLoss = field(default_factory=CodecLoss)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if self.size_px < 1 or self.size_px % self.codec.block:
            raise InputError(f"size_px {self.size_px}; expected a multiple of the codec's block {self.codec.block}")
        if self.train.start_from is not None:
            raise InputError("train.start_from of a codec's run; expected none, codecs start from fresh weights")
        t = self.train
        if t.curriculum or t.averages or t.parallel != "none" or self.data.shards is not None:
            raise InputError(
                "train.curriculum, averages or parallel, or data.shards, of a codec's run; expected none of them"
            )
        views, group = self.data.views, self.codec.group
        if group > 1 and ((views - 1) % group or self.train.frames != (views,)):
            raise InputError(
                f"data.views {views}, train.frames {list(self.train.frames)}; expected 1 + a multiple of codec.group "
                f"{group}, and the same as the only choice of frames"
            )
        self.scenes()

    def scenes(self) -> RunConfig:
        """The run whose stream of scenes this one trains on, which checks data and train."""
        return RunConfig(self.output, ModelConfig("codec", self.size_px, self.data.views), self.data, train=self.train)
