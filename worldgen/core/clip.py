"""`Clip`: posed, timed frames with color and depth."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.image.coercion import as_depths, as_frames
from geometry.shapes import Bool, Float, Int
from geometry.values import as_value, number_range
from worldgen.runtime.contact_sheet import html, sheet, show

if TYPE_CHECKING:
    from PIL import Image

CHANNELS = {
    "rgb": 3, "depth": 1, "instances": 1, "normals": 3, "classes": 1,
    "flow": 2, "scene_flow": 3, "visibility": 1, "layout": 3,
}  # fmt: skip


LOOKED_UP = "looked_up"  # the map that says which share of each color a model looked up in other frames


@as_value
@dataclass(frozen=True)
class Clip:
    """Frames of one size, each an image with a camera and a time. All but color and depth may be unknown (None).

    rgb      [*b, f, 3, h, w] in 0..1, sRGB, float32; given in any form that `geometry.as_frames` takes
    depth    [*b, f, 1, h, w] metres, 0 = unknown, inf = sky; z or along the ray as the cameras' lenses have it
    cameras  batch shape [*b, f]
    instances   [*b, f, 1, h, w] 0 = ground, 1.. = objects, -1 = sky
    normals     [*b, f, 3, h, w] unit, in the world; towards the camera where there is only sky
    classes     [*b, f, 1, h, w] `worldgen.scenes.SemanticClass`, -1 = sky
    flow        [*b, f, 2, h, w] pixels to the same surface point in the next frame; 0 in the last frame
    scene_flow  [*b, f, 3, h, w] metres that the point moves in the world until then; 0 in the last frame
    visibility  [*b, f, 1, h, w] whether the next frame shows it; False in the last frame
    layout      [*b, f, 3, h, w] in 0..1: what the scenario puts there
    others      further maps [*b, f, _, h, w] by name, such as those of modalities that are added
                (`worldgen.core.modalities`)
    """

    rgb: Float[torch.Tensor, "*b f 3 h w"]
    depth: Float[torch.Tensor, "*b f 1 h w"]
    cameras: Cameras
    instances: Int[torch.Tensor, "*b f 1 h w"] | None = None
    normals: Float[torch.Tensor, "*b f 3 h w"] | None = None
    classes: Int[torch.Tensor, "*b f 1 h w"] | None = None
    flow: Float[torch.Tensor, "*b f 2 h w"] | None = None
    scene_flow: Float[torch.Tensor, "*b f 3 h w"] | None = None
    visibility: Bool[torch.Tensor, "*b f 1 h w"] | None = None
    layout: Float[torch.Tensor, "*b f 3 h w"] | None = None
    others: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Only what is not in our form is looked at: clips are made in every step of a training.
        if not (isinstance(self.rgb, torch.Tensor) and self.rgb.dtype == torch.float32 and self.rgb.shape[-3] == 3):
            object.__setattr__(self, "rgb", as_frames(self.rgb, "clip: rgb", batch=True))
        if not (isinstance(self.depth, torch.Tensor) and self.depth.dtype == torch.float32):
            object.__setattr__(self, "depth", as_depths(self.depth, "clip: depth", batch=True))
        batch, hw = self.rgb.shape[:-3], self.rgb.shape[-2:]
        if self.depth.shape != (*batch, 1, *hw) or self.cameras.shape != batch or self.cameras.hw != tuple(hw):
            raise InputError(
                f"clip: rgb {tuple(self.rgb.shape)}, depth {tuple(self.depth.shape)}, cameras "
                f"{tuple(self.cameras.shape)} of size {self.cameras.hw}; expected one batch shape and one image size"
            )
        for name, value in self.maps().items():
            channels = CHANNELS[name] if name in CHANNELS else value.shape[-3]
            if value.shape != (*batch, channels, *hw):
                raise InputError(f"clip: {name} {tuple(value.shape)}; expected one batch shape and one image size")

    @staticmethod
    def of_maps(maps: Mapping[str, torch.Tensor], cameras: Cameras) -> "Clip":
        """The clip of maps by name, rgb and depth among them, as `maps` returns them."""
        return Clip(maps["rgb"], maps["depth"], cameras).with_maps(maps)

    def __len__(self) -> int:
        """The number of frames."""
        return self.rgb.shape[-4]

    def __iter__(self) -> Iterator["Clip"]:
        """The frames of a clip [f], each a clip [1]; or the clips of a batch [b, f]."""
        return (self[i] for i in range(len(self.rgb)))

    def _facts(self) -> str:
        """What its repr tells."""
        known, sky = self.depth > 0, self.depth.isinf()
        away = self.depth[known & ~sky]
        shares = {"unknown": 1 - known.float().mean(), "sky": sky.float().mean()} if self.depth.numel() else {}
        depth = [f"{float(away.min()):.4g}..{float(away.max()):.4g}"] if len(away) else []
        depth += [f"{100 * float(share):.0f}% {name}" for name, share in shares.items() if share > 0]
        more = [name for name in self.maps() if name not in ("rgb", "depth")]
        colors = number_range(self.rgb) if self.rgb.numel() else "of no frames"
        parts = [f"rgb {colors}", f"depth {', '.join(depth)}", *([f"also {', '.join(more)}"] if more else [])]
        return f"{self.cameras._facts()}; {'; '.join(parts)}"

    def pil(self) -> "list[Image.Image]":
        """The frames as PIL images of 8 bits; clip after clip where there are several."""
        from PIL import Image

        pixels = (self.rgb.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).movedim(-3, -1)
        return [Image.fromarray(frame.numpy()) for frame in pixels.reshape(-1, *pixels.shape[-3:])]

    def show(self) -> None:
        """Show the frames as a contact sheet: in a notebook below the cell, elsewhere in the system's viewer."""
        show(sheet(self.rgb, self.depth))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return html(repr(self), sheet(self.rgb, self.depth))

    def maps(self) -> dict[str, torch.Tensor]:
        """Everything known about the pixels, by name."""
        return {name: value for name in CHANNELS if (value := getattr(self, name)) is not None} | dict(self.others)

    def with_maps(self, maps: Mapping[str, torch.Tensor]) -> "Clip":
        """The clip with some maps added or replaced, by name."""
        own = {name: value for name, value in maps.items() if name in CHANNELS}
        others = {name: value for name, value in maps.items() if name not in CHANNELS}
        return replace(self, others={**self.others, **others}, **own)  # type: ignore[arg-type]

    def frames(self, index: Any) -> "Clip":
        """The clip of the chosen frames (a slice, a list or a mask over the frame axis).

        Flow and visibility stay those to the frame that came next before.
        """
        return self._map(lambda tensor: tensor[..., index, :, :, :], self.cameras[..., index])

    def followed_by(self, other: "Clip") -> "Clip":
        """Images, depth and cameras of both, one after the other along the frames; other maps are dropped."""
        return Clip(
            torch.cat([self.rgb, other.rgb], -4),
            torch.cat([self.depth, other.depth], -4),
            Cameras.cat([self.cameras, other.cameras]),
        )

    def __getitem__(self, index: Any) -> "Clip":
        """One clip of a batch [b, f], or several; of a clip [f] one frame, as a clip [1], or several."""
        if isinstance(index, int) and self.rgb.ndim == 4:
            index = torch.arange(len(self))[index][None]
        return self._map(lambda tensor: tensor[index], self.cameras[index])

    def to(self, device: torch.device | str) -> "Clip":
        """The clip on another device."""
        return self._map(lambda tensor: tensor.to(device), self.cameras.to(device))

    def shrunk(self, hw: tuple[int, int]) -> "Clip":
        """The clip with fewer pixels.

        Args:
            hw: Height and width, neither more than the clip's.

        Returns:
            Colors are means over areas; other maps, such as depth, are those of the middle pixel of each area.

        Raises:
            InputError: For a larger size.
        """
        height, width = self.cameras.hw
        if (height, width) == tuple(hw):
            return self
        if hw[0] > height or hw[1] > width or min(hw) < 1:
            raise InputError(f"a clip of {width}x{height} pixels shrunk to {hw[1]}x{hw[0]}; expected no more")
        rows, columns = (
            ((torch.arange(count, device=self.rgb.device) + 0.5) * size / count).long()
            for count, size in zip(hw, (height, width))
        )
        maps = {name: value[..., rows[:, None], columns] for name, value in self.maps().items()}
        flat = self.rgb.reshape(-1, *self.rgb.shape[-3:])
        maps["rgb"] = F.interpolate(flat, hw, mode="area").reshape(*self.rgb.shape[:-2], *hw)
        return Clip.of_maps(maps, self.cameras.resized(hw))

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor], cameras: Cameras) -> "Clip":
        maps = {name: function(value) for name, value in self.maps().items()}
        own = {name: maps.pop(name) for name in CHANNELS if name in maps}
        return replace(self, cameras=cameras, others=maps, **own)  # type: ignore[arg-type]
