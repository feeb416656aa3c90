"""Training a `ConvVAE` on the endless scenes: its loss and its loop, exactly resumable."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from geometry.shapes import Bool, Float
from worldgen.core.clip import Clip
from worldgen.core.modalities import signals_of
from worldgen.core.normalization import Normalization, scene_scale
from worldgen.models.codec.principal_components import start_from_components
from worldgen.models.codec.vae import ConvVAE
from worldgen.runtime.devices import pick_device
from worldgen.runtime.precision import autocast
from worldgen.runtime.rng import Stream, fresh_weights, stream
from worldgen.training.batches.render_ahead import scene_stream
from worldgen.training.codec.config import CodecLoss, CodecRun
from worldgen.training.engine.distributed import Ranks
from worldgen.training.engine.resumable import Resumable

_NORMALIZED_OVER = 16  # steps whose latents decide the stored mean and deviation


class CodecTrainer(Resumable):
    """A codec's run, on one process: `for record in trainer.steps(): ...` trains to the end, from its own checkpoint.

    Args:
        config: The run.

    Raises:
        InputError: A device or a checkpoint that does not fit the run.
    """

    def __init__(self, config: CodecRun):
        super().__init__(config, Ranks(pick_device(config.train.device)))
        self.config, self.device = config, self.ranks.device
        with fresh_weights(config.train.seed):
            self.vae = ConvVAE(config.codec).to(self.device)
        self.stream = scene_stream(config.scenes(), self.device)
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
        with autocast(train.precision, self.device):
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
        """The signals [b, f, ...] that a step trains on, of videos and of single images."""
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
        signals, _ = signals_of(clip, normalization, ("rgb", "depth"))
        if bool(video.any()):
            yield {name: x[video] for name, x in signals.items()}
        if not bool(video.all()):
            yield {name: x[~video].flatten(0, 1)[:, None] for name, x in signals.items()}

    @torch.no_grad()
    def averaged(self) -> ConvVAE:
        """The codec with averaged weights, its latents normalized over the last steps' images: the run's result."""
        vae = ConvVAE(self.config.codec).to(self.device)
        vae.load_state_dict(self.ema)
        vae.requires_grad_(False).eval()
        videos = self._videos(max(self.step - _NORMALIZED_OVER, 0), max(self.step, 1))
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
    """Mean absolute difference of the errors of neighbors down and across, large at blurred edges and blocks."""
    return (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()) / 2


def in_order(clip: Clip) -> tuple[Tensor, Bool[Tensor, "b"]]:
    """The frames [b, f] of clips in the order of time, and which clips are videos: one camera, no moment twice."""
    order = clip.cameras.time_s.argsort(dim=-1, stable=True)
    moments, view = clip.cameras.time_s.gather(-1, order), clip.cameras.view
    return order, (view == view[:, :1]).all(-1) & (moments.diff(dim=-1) > 0).all(-1)
