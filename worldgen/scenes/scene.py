"""`Scene`: an explicit world with known truth."""

from dataclasses import dataclass, fields

import torch

from geometry.shapes import Float, Int
from worldgen.scenes.textures import Textures


@dataclass(frozen=True)
class Scene:
    """B scenes of up to n solid objects on a ground plane z = 0 under a sky with one sun. Metres; linear light.

    kind       [b, n] `Shape`, -1 = empty slot
    centre     [b, n, 3]
    rotation   [b, n, 3, 3] world from object
    size       [b, n, 3] half extents
    textures   batch shape [b, n + 1]; the last one is the ground's
    to_sun     [b, 3] unit vector towards the sun
    sun, ambient, horizon, zenith  [b, 3] light of the sun, of the surroundings, and the sky's colours
    """

    kind: Int[torch.Tensor, "b n"]
    centre: Float[torch.Tensor, "b n 3"]
    rotation: Float[torch.Tensor, "b n 3 3"]
    size: Float[torch.Tensor, "b n 3"]
    textures: Textures
    to_sun: Float[torch.Tensor, "b 3"]
    sun: Float[torch.Tensor, "b 3"]
    ambient: Float[torch.Tensor, "b 3"]
    horizon: Float[torch.Tensor, "b 3"]
    zenith: Float[torch.Tensor, "b 3"]

    def __len__(self) -> int:
        return self.kind.shape[0]

    def to(self, device: torch.device | str) -> "Scene":
        """The scenes on another device."""
        return _map(self, lambda tensor: tensor.to(device))

    def __getitem__(self, index: slice) -> "Scene":
        """Some of the scenes."""
        return _map(self, lambda tensor: tensor[index])


def _map(value, function):
    """A copy of a dataclass of tensors (and of such dataclasses) with the function applied to each tensor."""
    parts = {field.name: getattr(value, field.name) for field in fields(value)}
    return type(value)(
        **{
            name: function(part) if isinstance(part, torch.Tensor) else _map(part, function)
            for name, part in parts.items()
        }
    )
