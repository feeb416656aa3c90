"""Training a `ConvVAE` on the endless scenes: its configuration, loss and loop, exactly resumable."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Bool, Float
from worldgen.clip import Clip
from worldgen.config import plain
from worldgen.gauge import Gauge, clip_scale
from worldgen.model import ModelConfig, pick_device
from worldgen.models.components import start_from_components
from worldgen.models.vae import ConvVAE, ConvVAEConfig
from worldgen.seeds import Domain, stream
from worldgen.training import checkpoint
from worldgen.training.config import DataConfig, RunConfig, TrainConfig
from worldgen.training.data import SceneStream
from worldgen.training.optimizer import build_optimizers, rate
from worldgen.training.precision import computes_half

CHECKPOINT = "checkpoint.safetensors"
_NORMALISED_OVER = 16  # steps whose latents decide the stored mean and deviation


@dataclass(frozen=True)
class CodecLoss:
    """What is added to the mean absolute error of rgb, and how depth is seen.

    gradient      weight of the mean absolute error of differences between neighbouring pixels
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

    A codec of pictures takes `train.frames` of each clip. One with frames in groups takes all `data.views` in the order
    of time, which have to fill the groups; clips that are no film of one camera give it single pictures.
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
        if self.train.curriculum or self.train.parallel != "none" or self.data.shards is not None:
            raise InputError("train.curriculum, train.parallel or data.shards of a codec's run; expected none of them")
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


class CodecTrainer:
    """A run: `for record in trainer.steps(): ...` trains to the end, continuing from the run's own checkpoint."""

    def __init__(self, config: CodecRun):
        self.config, self.step = config, 0
        self.device = pick_device(config.train.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(stream(Domain.WEIGHTS, config.train.seed).integers(2**31)))
            self.vae = ConvVAE(config.codec).to(self.device)
        self.stream = SceneStream(config.scenes(), self.device)
        if not self.checkpoint_path.exists():
            start_from_components(self.vae, self._films(0, 2 * config.data.pool))
        self.ema = {name: value.detach().clone() for name, value in self.vae.state_dict().items()}
        self.optimizers = build_optimizers([*self.vae.named_parameters()], config.train)
        if self.checkpoint_path.exists():
            self._resume()

    @property
    def checkpoint_path(self) -> Path:
        """Where this run's state is kept."""
        return self.config.output / CHECKPOINT

    def steps(self) -> Iterator[dict[str, Any]]:
        """Train, yielding a record a step: step, loss and its parts, gradient norm, rate, seconds."""
        while self.step < self.config.train.steps:
            began = time.perf_counter()
            record = self._train_step()
            self.step += 1
            yield {"step": self.step, **record, "seconds": round(time.perf_counter() - began, 4)}

    def _train_step(self) -> dict[str, Any]:
        train, step = self.config.train, self.step
        draw = stream(Domain.TRAINING, train.seed, step, 0, 5)
        batches = list(self._pictures(step, draw))
        total, parts = torch.zeros((), device=self.device), {}
        count = sum(film["rgb"].shape[:2].numel() for film in batches)
        half = computes_half(train.precision, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            for film in batches:
                share = film["rgb"].shape[:2].numel() / count
                value, own = codec_loss(self.vae, film, draw, self.config.loss, train.depth_weight)
                total = total + share * value
                parts = {name: parts.get(name, 0) + share * part for name, part in own.items()}
        self._check_finite("loss", total.detach())
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.vae.parameters(), train.clip_norm)
        self._check_finite("gradient norm", norm)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = train.learning_rate * rate(train, step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        decay = min(train.ema, (step + 1) / (step + 10))
        state = self.vae.state_dict()
        torch._foreach_lerp_(list(self.ema.values()), [state[name] for name in self.ema], 1 - decay)
        scalars = {"loss": total, **parts, "gradient_norm": norm}
        return {**{k: round(float(v.detach()), 6) for k, v in scalars.items()}, "rate": rate(train, step)}

    def _films(self, start: int, stop: int) -> list[dict[str, Tensor]]:
        """The films of some steps."""
        steps = ((n, stream(Domain.TRAINING, self.config.train.seed, n, 0, 5)) for n in range(start, stop))
        return [film for step, draw in steps for film in self._pictures(step, draw)]

    def _pictures(self, step: int, draw: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """What a step trains on: signals [b, f, ...] of films, and of single pictures."""
        clip = self.stream.footage(step).clip
        jitter = self.config.loss.scale_jitter ** (2 * torch.from_numpy(draw.random(len(clip.rgb))).float() - 1)
        rows = torch.arange(len(clip.rgb), device=self.device)[:, None]
        if self.config.codec.group > 1:
            order, film = in_order(clip)
        else:
            frames = int(draw.choice(self.config.train.frames))
            drawn = np.argsort(draw.random((len(rows), self.config.data.views)), axis=1)[:, :frames]
            order, film = torch.from_numpy(drawn).to(self.device), torch.zeros_like(rows[:, 0], dtype=torch.bool)
        clip = clip[rows, order]
        gauge = Gauge.of(clip.cameras, clip_scale(clip) * jitter.to(self.device))
        signals = {"rgb": clip.rgb, "depth": gauge.signal_from_depth(clip.depth)}
        if bool(film.any()):
            yield {name: x[film] for name, x in signals.items()}
        if not bool(film.all()):
            yield {name: x[~film].flatten(0, 1)[:, None] for name, x in signals.items()}

    def _check_finite(self, what: str, value: Tensor) -> None:
        """Stop before a number that is none reaches the weights."""
        if not bool(value.isfinite()):
            raise InputError(
                f"the {what} is {float(value)} at step {self.step} (seed {self.config.train.seed}); the last "
                f"checkpoint is kept in {self.config.output}; try a lower train.learning_rate"
            )

    @torch.no_grad()
    def averaged(self) -> ConvVAE:
        """The codec with averaged weights, its latents normalised over the last steps' pictures: the one to keep."""
        vae = ConvVAE(self.config.codec).to(self.device)
        vae.load_state_dict(self.ema)
        vae.requires_grad_(False).eval()
        films = self._films(max(self.step - _NORMALISED_OVER, 0), max(self.step, 1))
        latents = [vae.posterior(film)[0].movedim(2, -1).flatten(0, -2) for film in films]
        std, mean = torch.std_mean(torch.cat(latents), 0)
        vae.get_buffer("latent_mean").copy_(mean)
        vae.get_buffer("latent_std").copy_(std.clamp_min(1e-3))
        return vae

    def save(self) -> None:
        """Write the checkpoint: everything the next step depends on."""
        tensors: dict[str, Tensor] = {f"model.{n}": v for n, v in self.vae.state_dict().items()}
        tensors |= {f"ema.{name}": value for name, value in self.ema.items()}
        for name, optimizer in self.optimizers.items():
            tensors |= checkpoint.pack_optimizer(name, optimizer)
        checkpoint.save(self.checkpoint_path, tensors, {"step": self.step, "config": _fingerprint(self.config)})

    def _resume(self) -> None:
        tensors, header = checkpoint.load(self.checkpoint_path)
        if header.get("config") != _fingerprint(self.config):
            raise InputError(
                f"{self.checkpoint_path} is of a run with another configuration; expected the same (only the length "
                "and the intervals of checkpoints, sheets and logs may change), or another output folder"
            )
        self.step = int(header["step"])
        self.vae.load_state_dict({n[6:]: v for n, v in tensors.items() if n.startswith("model.")})
        self.ema = {n[4:]: v.to(self.device, copy=True) for n, v in tensors.items() if n.startswith("ema.")}
        for name, optimizer in self.optimizers.items():
            checkpoint.unpack_optimizer(name, optimizer, tensors)


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
    """Mean absolute difference between neighbours down and across: what blurred edges and blocks cost."""
    return (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()) / 2


def in_order(clip: Clip) -> tuple[Tensor, Bool[Tensor, "b"]]:
    """The frames [b, f] of clips in the order of time, and which clips are films: one camera, no moment twice."""
    order = clip.cameras.time_s.argsort(dim=-1, stable=True)
    moments, view = clip.cameras.time_s.gather(-1, order), clip.cameras.view
    return order, (view == view[:, :1]).all(-1) & (moments.diff(dim=-1) > 0).all(-1)


def _fingerprint(config: CodecRun) -> str:
    """A digest of everything that decides the weights, but for the run's length, which may be changed on the way."""
    data = plain(config)
    del data["output"]
    for key in ("steps", "cooldown", "checkpoint_every", "sheet_every", "log_every", "device"):
        del data["train"][key]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
