"""Autoencoders of diffusers as codecs: pretrained latents for real checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from geometry.errors import InputError
from geometry.shapes import Float
from worldgen.models.codec.protocol import whole_blocks
from worldgen.models.diffusers_hub import load_module

# Classes whose encoder takes the first frame alone and then whole groups, or no time at all; and how to tell their
# latents' size. CogVideoX's is none of them: two latent frames decode to eight frames and not to five.
_IMAGES = ("AutoencoderKL",)
_VIDEOS = ("AutoencoderKLWan", "AutoencoderKLLTXVideo", "AutoencoderKLHunyuanVideo")
_AT_ONCE = 8  # images an image autoencoder is given together


class DiffusersCodec(nn.Module):
    """`worldgen.models.codec.protocol.Codec` over AutoencoderKL (frame by frame) or AutoencoderKLWan, -LTXVideo,
    -HunyuanVideo.

    Depth goes through the same autoencoder as a gray image: its signal -1..2 scaled to -1..1 in three equal channels,
    whose mean is taken on the way back (Ke et al. 2024, "Marigold", section 3.2; so do ChronoDepth and DepthCrafter
    with video autoencoders). Latents are the posterior's means, shifted and scaled as the class's own pipelines do.
    The weights stay frozen, gradients pass through.

    Wan's encoder and decoder and LTX's encoder are causal. HunyuanVideo's norms take in all frames of a call, so its
    latent frames depend a little on later frames, and LTX's decoder looks ahead.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, autoencoder: nn.Module):
        """Wraps a diffusers module. Raises InputError for a class it does not know, or a decoder that wants a time."""
        super().__init__()
        kind = type(autoencoder).__name__
        if kind not in _IMAGES + _VIDEOS:
            raise InputError(f"an autoencoder of class {kind}; expected one of {', '.join(_IMAGES + _VIDEOS)}")
        config: Any = autoencoder.config
        if config.get("timestep_conditioning"):
            raise InputError(f"{kind} whose decoder denoises (timestep_conditioning); expected one that only decodes")
        self.autoencoder = autoencoder.requires_grad_(False).eval()
        if kind in _IMAGES:
            self.channels, self.block, self.group = config.latent_channels, 2 ** (len(config.block_out_channels) - 1), 1
        else:
            self.channels = config.get("z_dim") or config.latent_channels
            self.block = int(autoencoder.spatial_compression_ratio)  # type: ignore[arg-type]
            ratio = getattr(autoencoder, "temporal_compression_ratio", None) or config.scale_factor_temporal
            self.group = int(ratio)
        mean, std = _statistics(autoencoder, self.channels)
        self.register_buffer("latent_mean", mean, persistent=False)
        self.register_buffer("latent_std", std, persistent=False)

    @staticmethod
    def load(
        name_or_path: str | Path,
        subfolder: str | None = None,
        dtype: torch.dtype = torch.float32,
        local_files_only: bool = False,
    ) -> "DiffusersCodec":
        """The autoencoder in a folder or a repository of the Hugging Face hub; pipelines keep theirs in "vae".

        Raises InputError as `worldgen.models.diffusers_hub.load_module` does.
        """
        kinds = _IMAGES + _VIDEOS
        loaded = load_module("autoencoder", kinds, name_or_path, subfolder, dtype, local_files_only)
        return DiffusersCodec(loaded)

    def modalities(self) -> dict[str, int]:
        """Latent channels of each modality, in their order."""
        return {"rgb": self.channels, "depth": self.channels}

    def encode(self, signals: Mapping[str, Float[Tensor, "*b f _ h w"]]) -> Float[Tensor, "*b g c y x"]:
        """Latent frames of rgb and depth signal.

        Raises InputError for sides that are no multiple of the block, or groups that are not full.
        """
        rgb = signals["rgb"]
        frames, (height, width) = rgb.shape[-4], rgb.shape[-2:]
        if height % self.block or width % self.block or 0 in (height, width):
            raise InputError(f"images of {width}x{height} pixels; expected sides that are multiples of {self.block}")
        if frames < 1 or (frames - 1) % self.group:
            raise InputError(f"{frames} frames; expected 1 + a multiple of {self.group}")
        gray = repeat((2 * signals["depth"] - 1) / 3, "... 1 h w -> ... c h w", c=3)
        return torch.cat([self._encode(2 * rgb - 1), self._encode(gray)], -3)

    def decode(self, latent: Float[Tensor, "*b g c y x"]) -> dict[str, Tensor]:
        """rgb (not clamped, but by Wan's own decoder) and depth signal."""
        rgb, gray = (self._decode(part) for part in latent.split(self.channels, -3))
        return {"rgb": (rgb + 1) / 2, "depth": (3 * gray.mean(-3, keepdim=True) + 1) / 2}

    def encode_known(self, known: Mapping[str, Float[Tensor, "*b f 1 h w"]]) -> Float[Tensor, "*b g c y x"]:
        """Which latents are known (`worldgen.models.codec.protocol.whole_blocks`)."""
        return whole_blocks(self, known)

    def _encode(self, images: Tensor) -> Tensor:
        """Frames [*b, f, 3, h, w] in -1..1 to normalized latents."""
        flat = images.reshape(-1, *images.shape[-4:])
        vae, dtype = self.autoencoder, next(self.autoencoder.parameters()).dtype

        def mean(x: Tensor) -> Tensor:
            return vae.encode(x.to(dtype)).latent_dist.mode().float()  # type: ignore[operator]

        if type(vae).__name__ in _IMAGES:
            latent = torch.cat([mean(x) for x in flat.flatten(0, 1).split(_AT_ONCE)]).unflatten(0, flat.shape[:2])
        else:
            latent = rearrange(mean(rearrange(flat, "b f c h w -> b c f h w")), "b c g y x -> b g c y x")
        latent = (latent - self.latent_mean) / self.latent_std
        return latent.reshape(*images.shape[:-4], *latent.shape[1:])

    def _decode(self, latent: Tensor) -> Tensor:
        flat = latent.reshape(-1, *latent.shape[-4:]) * self.latent_std + self.latent_mean
        vae, dtype = self.autoencoder, next(self.autoencoder.parameters()).dtype

        def sample(x: Tensor) -> Tensor:
            return vae.decode(x.to(dtype)).sample.float()  # type: ignore[operator]

        if type(vae).__name__ in _IMAGES:
            image = torch.cat([sample(x) for x in flat.flatten(0, 1).split(_AT_ONCE)]).unflatten(0, flat.shape[:2])
        else:
            image = rearrange(sample(rearrange(flat, "b g c y x -> b c g y x")), "b c f h w -> b f c h w")
        return image.reshape(*latent.shape[:-4], *image.shape[1:])


def _statistics(autoencoder: nn.Module, channels: int) -> tuple[Float[Tensor, "c 1 1"], Float[Tensor, "c 1 1"]]:
    """Mean m and deviation s of a class's latents, so that its pipelines' latents are (z - m) / s.

    Wan keeps them in its configuration, LTX as buffers; the others scale and perhaps shift all channels alike.
    """
    config: Any = autoencoder.config

    def configured(name: str, otherwise: float | None) -> Tensor:
        value = config.get(name)
        value = getattr(autoencoder, name, None) if value is None else value
        value = otherwise if value is None else value
        return torch.as_tensor(value, dtype=torch.float32).expand(channels)[:, None, None].clone()

    mean = configured("latents_mean", config.get("shift_factor") or 0.0)
    return mean, configured("latents_std", 1.0) / (config.get("scaling_factor") or 1.0)
