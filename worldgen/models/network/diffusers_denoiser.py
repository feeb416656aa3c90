"""Video transformers of diffusers as denoisers: the sampler and its modes, on networks that others trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from geometry.camera.cameras import Cameras
from geometry.camera.rays import plucker
from geometry.errors import InputError
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix, slerp
from geometry.rotation.transforms import invert_rigid
from geometry.shapes import Float
from worldgen.core.conditioning import Conditioning
from worldgen.models.diffusers_hub import load_module
from worldgen.sampling.process import Flow, Process, per_channel

_TIMES = 1000  # these networks count levels 0..1 in thousandths
_TEXT = 300  # tokens of an empty text


class DiffusersDenoiser:
    """A `worldgen.sampling.denoiser.Denoiser` over a rectified-flow network that takes a level for each latent frame.

    WanTransformer3DModel   text to video, and image to video where the given frames are at level 0 (Wan 2.2 TI2V); has
                            no input for cameras
    SanaWMTransformer3DModel  steered by cameras: rays within its attention, and the Plücker embedding of all images
                            of a latent frame. Those between two latent frames get poses between theirs

    x [b, f, c, h, w] is the latent of images alone, one modality. Texts are tokens of the encoder the network was
    trained with (`worldgen.models.text.HubEncoder`); none, or a dropped one, is zeros. The frozen weights pass
    gradients to x.

    metres  a length of 1 in the conditioning's normalization in the units the network was trained on
    """

    def __init__(self, transformer: nn.Module, metres: float = 1.0):
        """Wraps a diffusers module. Raises InputError for a class it does not know, or a network with inputs of its
        own beside the noisy latent."""
        kind = type(transformer).__name__
        if kind not in _CALLS:
            raise InputError(f"a transformer of class {kind}; expected one of {', '.join(_CALLS)}")
        config: Any = transformer.config
        self.channels = int(config.in_channels)
        if (config.get("out_channels") or self.channels) != self.channels:
            raise InputError(
                f"{kind} of {self.channels} channels in and {config.out_channels} out; expected the same: a network "
                "that takes given frames as inputs of their own is not one of levels"
            )
        self.transformer, self.metres = transformer.requires_grad_(False).eval(), metres
        self.process: Process = Flow(target="velocity")
        self.modalities = {"rgb": self.channels}
        self._call = _CALLS[kind]

    @staticmethod
    def load(
        name_or_path: str | Path,
        subfolder: str | None = "transformer",
        dtype: torch.dtype = torch.float32,
        local_files_only: bool = False,
        metres: float = 1.0,
    ) -> "DiffusersDenoiser":
        """The transformer in a folder or a repository of the Hugging Face hub; pipelines keep theirs in "transformer".

        Raises InputError as `worldgen.models.diffusers_hub.load_module` does, and as the class itself.
        """
        loaded = load_module("transformer", tuple(_CALLS), name_or_path, subfolder, dtype, local_files_only)
        return DiffusersDenoiser(loaded, metres)

    def __call__(
        self, x: Float[Tensor, "b f c h w"], level: Float[Tensor, "b f m"], conditioning: Conditioning
    ) -> Float[Tensor, "b f c h w"]:
        """The clean estimate. Raises InputError for another number of channels or modalities than the network has."""
        if x.shape[2] != self.channels or level.shape[2] != 1:
            raise InputError(
                f"latent frames of {x.shape[2]} channels with {level.shape[2]} levels each; expected {self.channels} "
                "channels of one modality"
            )
        dtype = next(self.transformer.parameters()).dtype
        text, mask = self._text(conditioning, dtype)
        video = rearrange(x, "b f c h w -> b c f h w").to(dtype)
        velocity = torch.empty_like(video)
        # Either all clips of a call have cameras or none has.
        for known in (True, False):
            rows = (conditioning.cameras_known == known).nonzero().squeeze(-1)
            if len(rows):
                cameras = conditioning.cameras[rows].scaled(self.metres) if known else None
                velocity[rows] = self._call(
                    self.transformer, video[rows], _TIMES * level[rows, :, 0], text[rows], mask[rows], cameras
                )
        t = per_channel(level, (self.channels,))
        return torch.where(t == 0, x, x - t * rearrange(velocity, "b c f h w -> b f c h w").to(x.dtype))

    def _text(self, conditioning: Conditioning, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Tokens [b, t, e], zero where they are not meant, and a mask with at least one token a clip."""
        config: Any = self.transformer.config
        width = config.get("text_dim") or config.get("caption_channels")
        tokens, mask = conditioning.text, conditioning.text_mask
        if tokens is None or mask is None:
            shape = (conditioning.cameras.shape[0], _TEXT)
            tokens = torch.zeros(*shape, width, device=conditioning.cameras.K.device)
            mask = torch.zeros(shape, dtype=torch.bool, device=tokens.device)
        if tokens.shape[2] != width:
            raise InputError(f"text tokens of width {tokens.shape[2]}; expected {width}")
        tokens = torch.where(mask[..., None], tokens, 0.0).to(dtype)
        return tokens, mask | ~mask.any(-1, keepdim=True)


def _wan(
    network: nn.Module, video: Tensor, time: Tensor, text: Tensor, mask: Tensor, cameras: Cameras | None
) -> Tensor:
    """A level for every token, as in Wan 2.2's text and image to video."""
    config: Any = network.config
    tokens = (video.shape[3] // config.patch_size[1]) * (video.shape[4] // config.patch_size[2])
    return network(video, repeat(time, "b f -> b (f n)", n=tokens), text, return_dict=False)[0]


def _sana_world(
    network: nn.Module, video: Tensor, time: Tensor, text: Tensor, mask: Tensor, cameras: Cameras | None
) -> Tensor:
    """Levels by frame, poses relative to the first camera, and the Plücker embedding of each frame's images."""
    config: Any = network.config
    steer: dict[str, Tensor] = {}
    if cameras is not None:
        cameras.check_pinhole("cameras of this network")
        cameras = cameras.resized((video.shape[3], video.shape[4]))
        first = invert_rigid(cameras.world_from_camera[:, :1])
        cameras = cameras.moved(first)
        lens = torch.stack([cameras.K[..., i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2))], -1)
        steer["camera_conditions"] = torch.cat([cameras.world_from_camera.flatten(-2), lens], -1).to(video.dtype)
        # This network was trained with pixel centers at whole numbers.
        K = cameras.K.clone()
        K[..., :2, 2] += 0.5
        each = plucker(_images(Cameras(cameras.world_from_camera, K, cameras.hw), config.chunk_plucker_channels // 6))
        steer["chunk_plucker"] = rearrange(each, "b f k c h w -> b (k c) f h w").to(video.dtype)
    return network(video, time[:, None], text[:, None], mask=mask, return_dict=False, **steer)[0]


def _images(cameras: Cameras, count: int) -> Cameras:
    """Poses [b, f, count] of the images in each latent frame, whose own [b, f] is the last one's.

    Between two latent frames the camera turns and moves evenly. The first latent frame is one image; what is beside
    it are the images after it.
    """
    pose = cameras.world_from_camera
    quaternion, center = quaternion_wxyz_from_matrix(pose[..., :3, :3]), cameras.centers
    frames = cameras.shape[1]
    # The time of image j of latent frame i, in latent frames.
    when = torch.arange(1 - count, 1, device=pose.device) / count + torch.arange(frames, device=pose.device)[:, None]
    when[0] = (torch.arange(count, device=pose.device) / count).clamp_max(frames - 1)
    before = when.floor().long().clamp_max(max(frames - 2, 0))
    after = (before + 1).clamp_max(frames - 1)
    share = (when - before).to(pose.dtype).expand(cameras.shape[0], -1, -1)
    turn = matrix_from_quaternion_wxyz(slerp(quaternion[:, before], quaternion[:, after], share))
    place = torch.lerp(center[:, before], center[:, after], share[..., None])
    between = torch.eye(4, dtype=pose.dtype, device=pose.device).repeat(*share.shape, 1, 1)
    between[..., :3, :3], between[..., :3, 3] = turn, place
    return Cameras(between, cameras.K[:, :, None].expand(-1, -1, count, -1, -1), cameras.hw)


_Call = Callable[[nn.Module, Tensor, Tensor, Tensor, Tensor, Cameras | None], Tensor]
_CALLS: dict[str, _Call] = {"WanTransformer3DModel": _wan, "SanaWMTransformer3DModel": _sana_world}
