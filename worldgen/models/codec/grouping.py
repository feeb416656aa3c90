"""Which frames of a clip share a latent frame: only consecutive ones of one camera's video, never different
cameras'."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float, Int
from worldgen.models.codec.protocol import Codec


@dataclass(frozen=True)
class Grouping:
    """The frames of each latent frame, in the order of the latent frames.

    videos  of each video the numbers of its frames in the order of time: the first is alone in a latent frame, then
           each latent frame takes `group`. Videos follow each other in the order of their first frames.
    """

    videos: tuple[tuple[int, ...], ...]
    group: int

    def __post_init__(self) -> None:
        for video in self.videos:
            if not video or (len(video) - 1) % self.group:
                raise InputError(
                    f"a video of {len(video)} frames; expected 1 + a multiple of {self.group}, for the first is alone "
                    f"in its latent frame and the others come by {self.group}"
                )
        if sorted(sum(self.videos, ())) != list(range(sum(map(len, self.videos)))):
            raise InputError(f"videos of frames {self.videos}; expected every frame in exactly one of them")

    @staticmethod
    def of(view: Int[Tensor, "f"], time_s: Float[Tensor, "f"], group: int) -> "Grouping":
        """The grouping of a clip's frames by physical camera (`Cameras.view`) and time.

        The frames of one view at different moments are a video. Frames of one view that share a moment were taken from
        different places, so each of them stands alone. Raises InputError when a video doesn't fill its groups.
        """
        if group == 1:
            return Grouping(tuple((frame,) for frame in range(len(view))), 1)
        videos: list[tuple[int, ...]] = []
        for camera in dict.fromkeys(view.tolist()):
            frames = (view == camera).nonzero().flatten()
            frames = frames[time_s[frames].argsort(stable=True)]
            if bool((time_s[frames].diff() > 0).all()):
                videos.append(tuple(frames.tolist()))
            else:
                videos += [(frame,) for frame in frames.tolist()]
        return Grouping(tuple(sorted(videos, key=min)), group)

    @property
    def latent_frames(self) -> tuple[tuple[int, ...], ...]:
        """The frames of each latent frame."""
        parts = []
        for video in self.videos:
            parts.append(video[:1])
            parts += [video[start : start + self.group] for start in range(1, len(video), self.group)]
        return tuple(parts)

    def levels(self, level: Float[Tensor, "*b f m"]) -> Float[Tensor, "*b g m"]:
        """The level of each latent frame and modality, from those of the frames.

        Raises InputError for a partly given group: frames that share a latent frame share its level.
        """
        parts = [level[..., list(frames), :] for frames in self.latent_frames]
        for frames, part in zip(self.latent_frames, parts):
            if bool((part != part[..., :1, :]).any()):
                raise InputError(
                    f"frames {list(frames)} share a latent frame but not a level; expected groups that are given or "
                    "unknown as a whole"
                )
        return torch.cat([part[..., :1, :] for part in parts], -2)

    def encode(self, codec: Codec, signals: Mapping[str, Float[Tensor, "*b f _ h w"]]) -> Float[Tensor, "*b g c y x"]:
        """Latent frames of clips that all have this grouping, each video by itself."""
        self._check(codec, signals["rgb"].shape[-4])
        if self.group == 1:
            return codec.encode(signals)
        videos = ({name: x[..., list(video), :, :, :] for name, x in signals.items()} for video in self.videos)
        return torch.cat([codec.encode(video) for video in videos], -4)

    def decode(self, codec: Codec, latent: Float[Tensor, "*b g c y x"]) -> dict[str, Tensor]:
        """The frames' signals in the clip's own order."""
        self._check(codec, sum(map(len, self.videos)))
        if self.group == 1:
            return codec.decode(latent)
        sizes = [1 + (len(video) - 1) // self.group for video in self.videos]
        decoded = [codec.decode(part) for part in latent.split(sizes, -4)]
        back = torch.tensor(sum(self.videos, ())).argsort().to(latent.device)
        joined = {name: torch.cat([video[name] for video in decoded], -4) for name in decoded[0]}
        return {name: x.index_select(latent.ndim - 4, back) for name, x in joined.items()}

    def _check(self, codec: Codec, frames: int) -> None:
        if codec.group != self.group or frames != sum(map(len, self.videos)):
            raise InputError(
                f"{frames} frames for a codec with groups of {codec.group}; this grouping is of "
                f"{sum(map(len, self.videos))} frames in groups of {self.group}"
            )
