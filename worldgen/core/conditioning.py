"""`Conditioning`: what a network is given besides the frames themselves; every field can be dropped."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.shapes import Bool, Float, Int
from geometry.values import as_value
from worldgen.core.normalization import Normalization


@as_value
@dataclass(frozen=True)
class MemoryRender:
    """What the 3D memory of a world shows from the cameras of clips.

    rgb      [*b, f, 3, h, w] in 0..1
    depth    [*b, f, 1, h, w] metres along the optical axis; 0 = unknown
    visible  [*b, f, 1, h, w] how much of each pixel it knows, 0..1
    """

    rgb: Float[Tensor, "*b f 3 h w"]
    depth: Float[Tensor, "*b f 1 h w"]
    visible: Float[Tensor, "*b f 1 h w"]


@as_value
@dataclass(frozen=True)
class Conditioning:
    """What is known about b clips of f frames.

    cameras        batch shape [b, f], normalized: relative to the first frame's camera, lengths divided by the scene
                   scale (`worldgen.core.normalization`)
    cameras_known  [b] False drops a clip's cameras: null rays and no projective attention
    order          [b, f] a frame attends to those whose number is not above its own; None = all attend to all.
                   0, 1, 2, ... is causal frame by frame, 0, 0, 0, 1, 1, 1 chunk by chunk
    memory         [b, f, c, h, w] latent of a render of the 3D memory from each camera: rgb, depth signal, visibility
                   (`worldgen.models.codec.pixel`); zeros, or None, where it shows nothing
    coarse         [b, f, c, y, x] signals of the same clips as a first stage makes them, at its size: what a second
                   stage starts from; NaN in frames, or None, where there is none
    text           [b, t, e] tokens of a text encoder; None = no text
    text_mask      [b, t] which of them are not padding; a clip without any has its text dropped
    """

    cameras: Cameras
    cameras_known: Bool[Tensor, "b"]
    order: Int[Tensor, "b f"] | None = None
    memory: Float[Tensor, "b f c h w"] | None = None
    text: Float[Tensor, "b t e"] | None = None
    text_mask: Bool[Tensor, "b t"] | None = None
    coarse: Float[Tensor, "b f c y x"] | None = None

    def __post_init__(self) -> None:
        batch, frames = self.cameras.shape
        shapes = {
            "order": (self.order, (batch, frames), 2),
            "memory": (self.memory, (batch, frames), 5),
            "coarse": (self.coarse, (batch, frames), 5),
            "text": (self.text, (batch,), 3),
            "text_mask": (self.text_mask, (batch,) if self.text is None else tuple(self.text.shape[:2]), 2),
        }
        for name, (value, leading, rank) in shapes.items():
            if value is not None and (value.ndim != rank or tuple(value.shape[: len(leading)]) != leading):
                raise InputError(
                    f"conditioning: {name} {tuple(value.shape)} for cameras {(batch, frames)}; expected {leading} first"
                )
        if (self.text is None) != (self.text_mask is None):
            raise InputError("conditioning: text and text_mask go together; expected both or neither")

    @staticmethod
    def of(cameras: Cameras) -> "Conditioning":
        """Conditioning on known, normalized cameras [b, f]."""
        return Conditioning(cameras, torch.ones(cameras.shape[0], dtype=torch.bool, device=cameras.K.device))

    def causal(self, chunk: int = 1) -> "Conditioning":
        """The same where frames attend to those of their own chunk and of earlier ones only."""
        batch, frames = self.cameras.shape
        order = torch.arange(frames, device=self.cameras.K.device) // chunk
        return replace(self, order=order.expand(batch, frames))

    def without_cameras(self) -> "Conditioning":
        """The same with every camera dropped."""
        return replace(self, cameras_known=torch.zeros_like(self.cameras_known))

    def without_memory(self) -> "Conditioning":
        """The same where the memory shows nothing."""
        return replace(self, memory=None if self.memory is None else torch.zeros_like(self.memory))

    def without_text(self) -> "Conditioning":
        """The same with every text dropped."""
        return replace(self, text_mask=None if self.text_mask is None else torch.zeros_like(self.text_mask))

    def frames(self, index: slice | list[int]) -> "Conditioning":
        """Conditioning of some of the frames."""
        return replace(
            self,
            cameras=self.cameras[:, index],
            order=None if self.order is None else self.order[:, index],
            memory=None if self.memory is None else self.memory[:, index],
            coarse=None if self.coarse is None else self.coarse[:, index],
        )

    @staticmethod
    def cat(parts: Sequence["Conditioning"]) -> "Conditioning":
        """Batches of equally many frames as one, for several branches in one call.

        Raises InputError when some have a field that others lack (drop it with `without_...` instead).
        """
        return Conditioning(
            _cat_clips([part.cameras for part in parts]),
            torch.cat([part.cameras_known for part in parts]),
            *(_cat_known(name, parts) for name in ("order", "memory", "text", "text_mask", "coarse")),
        )


class Encoded(NamedTuple):
    """Clips as a denoiser takes them (`worldgen.models.world_model.WorldModel.encode`).

    latent         [b, f, c, h, w] latent frames
    conditioning   what else is known of them
    normalization  to the frame and units of the conditioning's cameras
    """

    latent: Float[Tensor, "b f c h w"]
    conditioning: Conditioning
    normalization: Normalization


def _cat_clips(parts: Sequence[Cameras]) -> Cameras:
    """Cameras [b, f] joined along b."""
    frames = parts[0].shape[1]
    joined = Cameras.cat([part.reshape(part.shape.numel()) for part in parts])
    return joined.reshape(joined.shape[0] // frames, frames)


def _cat_known(name: str, parts: Sequence[Conditioning]) -> Tensor | None:
    values = [getattr(part, name) for part in parts]
    if all(value is None for value in values):
        return None
    if any(value is None for value in values):
        raise InputError(f"conditioning: {name} in some of the branches only; expected it in all, or in none")
    return torch.cat(values)
