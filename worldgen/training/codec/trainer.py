"""Training a `ConvVAE` on the endless scenes: its configuration, loss and loop, exactly resumable."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from geometry.errors import InputError
from geometry.shapes import Bool, Float
from worldgen.core.clip import Clip
from worldgen.core.normalization import Normalization, scene_scale
from worldgen.models.codec.principal_components import start_from_components
from worldgen.models.codec.vae import ConvVAE, ConvVAEConfig
from worldgen.models.config import ModelConfig
from worldgen.runtime.devices import pick_device
from worldgen.runtime.precision import computes_half
from worldgen.runtime.rng import Stream, fresh_weights, stream
from worldgen.training.batches.scene_stream import SceneStream
from worldgen.training.config.data import DataConfig
from worldgen.training.config.run import RunConfig
from worldgen.training.config.train import TrainConfig
from worldgen.training.engine.distributed import Ranks
from worldgen.training.engine.resumable import Resumable

_NORMALISED_OVER = 16  # steps whose latents decide the stored mean and deviation


@dataclass(frozen=True)
class CodecLoss:
    """What is added to the mean absolute error of rgb, and how depth is seen.

    gradient      weight of the mean absolute error of differences between neighboring pixels
    kl            weight of the mean KL divergence of a latent from a standard normal
    scale_jitter  the scene scale is multiplied by up to this, or divided
    """

    gradient: float = 0.5
    kl: float = 1e-4
    scale_jitter: float = 1.4

    def __post_init__(self) -> None:
        if min(self.gradient, self.kl) < 0 or self.scale_jitter < 1:
            raise InputError(f"{self}; expected weights of 0 or more and a scale_jitter of 1 or more")


@dataclass(frozen=True)
class CodecRun:
    """A codec's training run. `train.depth_weight` is of the depth signal's errors beside those of rgb.

    A codec of images takes `train.frames` of each clip. One with frames in groups takes all `data.views` in the order
    of time, which have to fill the groups; clips that are no video of one camera give it single images.
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


class CodecTrainer(Resumable):
    """A codec's run (see `Resumable`), on one process."""

    def __init__(self, config: CodecRun):
        super().__init__(config, Ranks(pick_device(config.train.device)))
        self.config, self.device = config, self.ranks.device
        with fresh_weights(config.train.seed):
            self.vae = ConvVAE(config.codec).to(self.device)
        self.stream = SceneStream(config.scenes(), self.device)
        if not self.checkpoint_path.exists():
            start_from_components(self.vae, self._videos(0, 2 * config.data.pool))
        self._start()

    def state(self) -> dict[str, Tensor]:
        """All trained tensors by name."""
        return self.vae.state_dict()

    def parameters(self) -> Sequence[tuple[str, nn.Parameter]]:
        """All trained parameters by name."""
        return [*self.vae.named_parameters()]

    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a step's videos and images, weighed by their number, and its parts."""
        train, draw = self.config.train, stream(Stream.TRAINING, self.config.train.seed, self.step, 0, 5)
        batches = list(self._images(self.step, draw))
        total, parts = torch.zeros((), device=self.device), {}
        count = sum(video["rgb"].shape[:2].numel() for video in batches)
        half = computes_half(train.precision, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            for video in batches:
                share = video["rgb"].shape[:2].numel() / count
                value, own = codec_loss(self.vae, video, draw, self.config.loss, train.depth_weight)
                total = total + share * value
                parts = {name: parts.get(name, 0) + share * part for name, part in own.items()}
        return total, parts

    def _videos(self, start: int, stop: int) -> list[dict[str, Tensor]]:
        """The videos of some steps."""
        steps = ((n, stream(Stream.TRAINING, self.config.train.seed, n, 0, 5)) for n in range(start, stop))
        return [video for step, draw in steps for video in self._images(step, draw)]

    def _images(self, step: int, draw: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """What a step trains on: signals [b, f, ...] of videos, and of single images."""
        clip = self.stream.footage(step).clip
        jitter = self.config.loss.scale_jitter ** (2 * torch.from_numpy(draw.random(len(clip.rgb))).float() - 1)
        rows = torch.arange(len(clip.rgb), device=self.device)[:, None]
        if self.config.codec.group > 1:
            order, video = in_order(clip)
        else:
            frames = int(draw.choice(self.config.train.frames))
            drawn = np.argsort(draw.random((len(rows), self.config.data.views)), axis=1)[:, :frames]
            order, video = torch.from_numpy(drawn).to(self.device), torch.zeros_like(rows[:, 0], dtype=torch.bool)
        clip = clip[rows, order]
        normalization = Normalization.of(clip.cameras, scene_scale(clip) * jitter.to(self.device))
        signals = {"rgb": clip.rgb, "depth": normalization.signal_from_depth(clip.depth)}
        if bool(video.any()):
            yield {name: x[video] for name, x in signals.items()}
        if not bool(video.all()):
            yield {name: x[~video].flatten(0, 1)[:, None] for name, x in signals.items()}

    @torch.no_grad()
    def averaged(self) -> ConvVAE:
        """The codec with averaged weights, its latents normalized over the last steps' images: the one to keep."""
        vae = ConvVAE(self.config.codec).to(self.device)
        vae.load_state_dict(self.ema)
        vae.requires_grad_(False).eval()
        videos = self._videos(max(self.step - _NORMALISED_OVER, 0), max(self.step, 1))
        latents = [vae.posterior(video)[0].movedim(2, -1).flatten(0, -2) for video in videos]
        std, mean = torch.std_mean(torch.cat(latents), 0)
        vae.get_buffer("latent_mean").copy_(mean)
        vae.get_buffer("latent_std").copy_(std.clamp_min(1e-3))
        return vae


def codec_loss(
    vae: ConvVAE,
    signals: Mapping[str, Float[Tensor, "b f _ h w"]],
    draw: np.random.Generator,
    loss: CodecLoss,
    depth_weight: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of decoding a draw from the posterior (Kingma & Welling 2014, eq. 10, with L1), and its parts."""
    mean, log_variance = vae.posterior(signals)
    noise = torch.from_numpy(draw.standard_normal(mean.shape, dtype="float32")).to(mean.device)
    decoded = vae.reconstruct(mean + noise * (log_variance / 2).exp())
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    parts = {}
    for name, guess in decoded.items():
        error = guess - signals[name]
        parts[name] = error.abs().mean() + loss.gradient * _gradient_error(error)
    return parts["rgb"] + depth_weight * parts["depth"] + loss.kl * kl, parts | {"kl": kl}


def _gradient_error(error: Tensor) -> Tensor:
    """Mean absolute difference between neighbors down and across: what blurred edges and blocks cost."""
    return (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()) / 2


def in_order(clip: Clip) -> tuple[Tensor, Bool[Tensor, "b"]]:
    """The frames [b, f] of clips in the order of time, and which clips are videos: one camera, no moment twice."""
    order = clip.cameras.time_s.argsort(dim=-1, stable=True)
    moments, view = clip.cameras.time_s.gather(-1, order), clip.cameras.view
    return order, (view == view[:, :1]).all(-1) & (moments.diff(dim=-1) > 0).all(-1)
