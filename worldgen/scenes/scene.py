"""`Scene`: explicit worlds with known truth, in space and time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float, Int
from geometry.values import as_value
from worldgen.scenes.motion import Motion
from worldgen.scenes.textures import Textures


@as_value
@dataclass(frozen=True)
class Materials:
    """The materials of primitives of batch shape b.

    Attributes:
        textures: Batch shape b; the diffuse color.
        gloss: [*b] strength of the highlight, 0 = diffuse.
        shine: [*b] its sharpness (Blinn-Phong exponent; Blinn 1977).
        glow: [*b] emitted light over the color.
        haze_m: [*b] distance over which the primitive fades into the horizon's color; inf = never.
    """

    textures: Textures
    gloss: Float[Tensor, "*b"]
    shine: Float[Tensor, "*b"]
    glow: Float[Tensor, "*b"]
    haze_m: Float[Tensor, "*b"]


@as_value
@dataclass(frozen=True)
class Light:
    """The linear light of b scenes: a sky, one sun with shadows, and up to l lamps with shadows.

    Attributes:
        to_sun: [b, 3] unit vector towards the sun.
        sun: [b, 3] light of the sun.
        ambient: [b, 3] light of the surroundings.
        horizon: [b, 3] color of the sky at the horizon.
        zenith: [b, 3] color of the sky at the zenith.
        lamp: [b, l, 3] positions of the lamps, metres.
        lamp_color: [b, l, 3] their light at a distance of one metre; 0 = none.
    """

    to_sun: Float[Tensor, "b 3"]
    sun: Float[Tensor, "b 3"]
    ambient: Float[Tensor, "b 3"]
    horizon: Float[Tensor, "b 3"]
    zenith: Float[Tensor, "b 3"]
    lamp: Float[Tensor, "b l 3"]
    lamp_color: Float[Tensor, "b l 3"]


@as_value
@dataclass(frozen=True)
class Scene:
    """A batch of b scenes of up to n primitives under their lights. World: right-handed, z up, metres.

    Attributes:
        kind: [b, n] `Shape`, -1 = empty slot.
        size: [b, n, 3] half extents, metres.
        form: [b, n, 2] two numbers that some shapes have (`worldgen/scenes/shapes.py`).
        motion: Poses of the primitives over time.
        instance: [b, n] values of a clip's `instances`; the parts of one thing share a number, 0 is the background.
        semantic: [b, n] `SemanticClass`.
        material: Batch shape [b, n].
        light: The sky, the sun and the lamps.
        triangles: [b, m, 3, 3] corners of the meshes, metres in their primitive's frame.
        owner: [b, m] the slots of their primitives, -1 = none.
        lines: [b, q, 2, 3] painted lane lines as segments, metres; NaN = none.
        captions: One sentence a scene about its contents, or empty.
    """

    kind: Int[Tensor, "b n"]
    size: Float[Tensor, "b n 3"]
    form: Float[Tensor, "b n 2"]
    motion: Motion
    instance: Int[Tensor, "b n"]
    semantic: Int[Tensor, "b n"]
    material: Materials
    light: Light
    triangles: Float[Tensor, "b m 3 3"]
    owner: Int[Tensor, "b m"]
    lines: Float[Tensor, "b q 2 3"]
    captions: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.kind.shape[0]

    def to(self, target: torch.device | torch.dtype | str) -> "Scene":
        """The scenes on another device, or in another float type."""
        if isinstance(target, torch.dtype):
            return _map(self, lambda tensor: tensor.to(target) if tensor.is_floating_point() else tensor)
        return _map(self, lambda tensor: tensor.to(target))

    def __getitem__(self, index: slice) -> "Scene":
        """A slice of the batch."""
        return replace(_map(self, lambda tensor: tensor[index]), captions=self.captions[index])

    def check(self) -> None:
        """Raise InputError, naming the part, for NaN or Inf, or half extents of 0 or less."""
        self.motion.check()
        present = self.kind >= 0
        bad = present & ~((self.size > 0) & self.size.isfinite()).all(-1)
        if bool(bad.any()):
            b, n = bad.nonzero()[0].tolist()
            raise InputError(f"scene {b}, primitive {n}: half extents {self.size[b, n].tolist()}; expected above 0")
        for name, value in (("to_sun", self.light.to_sun), ("form", self.form), ("triangles", self.triangles)):
            if not bool(value.isfinite().all()):
                raise InputError(f"scene: {name} with NaN or Inf; expected finite numbers")


Parts = TypeVar("Parts")  # Scene, or one of the dataclasses of tensors within it


def _map(value: Parts, function: Callable[[Tensor], Tensor]) -> Parts:
    """A copy of a dataclass of tensors (and of such dataclasses) with the function applied to each tensor."""
    parts = {field.name: getattr(value, field.name) for field in fields(value)}  # type: ignore[arg-type]
    for name, part in parts.items():
        if isinstance(part, Tensor):
            parts[name] = function(part)
        elif is_dataclass(part):
            parts[name] = _map(part, function)
    return type(value)(**parts)


def tensors(value: object) -> list[Tensor]:
    """All tensors of a dataclass of tensors and of such dataclasses."""
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in vars(value).values() for tensor in tensors(part)] if is_dataclass(value) else []


def stack(scenes: Sequence[Scene]) -> Scene:
    """One batch of several batches, the smaller ones padded with empty slots, dark lamps and their last moment.

    Args:
        scenes: Batches of scenes.

    Returns:
        All scenes in order, with as many slots as the largest batch.
    """
    width = {
        axis: max(size(scene) for scene in scenes)
        for axis, size in {
            "n": lambda s: s.kind.shape[1],
            "m": lambda s: s.triangles.shape[1],
            "l": lambda s: s.light.lamp.shape[1],
            "q": lambda s: s.lines.shape[1],
            "k": lambda s: s.motion.time_s.shape[1],
        }.items()
    }
    padded = [_padded(scene, width) for scene in scenes]
    return _cat(padded)


def _fill(tensor: Tensor, axis: int, count: int, value: float | int) -> Tensor:
    missing = count - tensor.shape[axis]
    if missing == 0:
        return tensor
    shape = list(tensor.shape)
    shape[axis] = missing
    return torch.cat([tensor, tensor.new_full(shape, value)], axis)


def _padded(scene: Scene, width: dict[str, int]) -> Scene:
    n, moments = width["n"], width["k"]
    motion, k = scene.motion, scene.motion.time_s.shape[1]
    later = motion.time_s[:, -1:] + torch.arange(1, moments - k + 1).to(motion.time_s)
    rest = [torch.cat([x, x[:, :, -1:].expand(-1, -1, moments - k, -1)], 2) for x in (motion.position, motion.rotation)]
    material = _map(scene.material, lambda tensor: _fill(tensor, 1, n, 0.0))
    return replace(
        scene,
        kind=_fill(scene.kind, 1, n, -1),
        size=_fill(scene.size, 1, n, 1.0),
        form=_fill(scene.form, 1, n, 0.5),
        instance=_fill(scene.instance, 1, n, 0),
        semantic=_fill(scene.semantic, 1, n, 0),
        motion=Motion(torch.cat([motion.time_s, later], 1), _fill(rest[0], 1, n, 0.0), _fill(rest[1], 1, n, 1.0)),
        material=replace(material, haze_m=_fill(scene.material.haze_m, 1, n, torch.inf)),
        light=replace(
            scene.light,
            lamp=_fill(scene.light.lamp, 1, width["l"], 0.0),
            lamp_color=_fill(scene.light.lamp_color, 1, width["l"], 0.0),
        ),
        triangles=_fill(scene.triangles, 1, width["m"], 0.0),
        owner=_fill(scene.owner, 1, width["m"], -1),
        lines=_fill(scene.lines, 1, width["q"], torch.nan),
        captions=scene.captions or ("",) * len(scene),
    )


def _cat(parts: Sequence[Parts]) -> Parts:
    joined = {}
    for field in fields(parts[0]):  # type: ignore[arg-type]
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], Tensor):
            joined[field.name] = torch.cat(values)
        elif isinstance(values[0], tuple):
            joined[field.name] = tuple(entry for value in values for entry in value)
        else:
            joined[field.name] = _cat(values)
    return type(parts[0])(**joined)
