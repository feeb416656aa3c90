"""`Conditioning`: what the network may see besides the frames themselves; every field can be dropped."""

from dataclasses import dataclass, replace

import torch

from geometry.cameras import Cameras
from geometry.shapes import Bool


@dataclass(frozen=True)
class Conditioning:
    """Cameras of b clips of f frames.

    cameras        batch shape [b, f], in the network's gauge: relative to the first frame's camera, lengths divided by
                   the scene scale (`worldgen.gauge`)
    cameras_known  [b] False drops a clip's cameras: null rays and no projective attention
    """

    cameras: Cameras
    cameras_known: Bool[torch.Tensor, "b"]

    @staticmethod
    def of(cameras: Cameras) -> "Conditioning":
        """Conditioning on known cameras [b, f] in the network's gauge."""
        return Conditioning(cameras, torch.ones(cameras.shape[0], dtype=torch.bool, device=cameras.K.device))

    def without_cameras(self) -> "Conditioning":
        """The same with every camera dropped."""
        return replace(self, cameras_known=torch.zeros_like(self.cameras_known))

    def twice(self) -> "Conditioning":
        """The batch repeated, for two branches in one call."""
        cameras = self.cameras
        index = torch.arange(len(cameras), device=cameras.K.device).repeat(2)
        return Conditioning(cameras[index], self.cameras_known[index])
