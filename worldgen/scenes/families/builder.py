"""`Builder`: puts one scene together, part by part; `texture`: the numbers of one texture.

Families draw each scene by itself from its own random stream, so that it does not depend on the batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from geometry.rotation.quaternions import quaternion_wxyz_from_matrix
from geometry.values import as_value
from worldgen.scenes.classes import SemanticClass
from worldgen.scenes.motion import Motion
from worldgen.scenes.scene import Light, Materials, Scene
from worldgen.scenes.shapes import Shape
from worldgen.scenes.textures import Pattern, Textures

Vector = Sequence[Any] | np.ndarray  # numbers of any kind


def texture(
    pattern: Pattern,
    color_a: Vector,
    color_b: Vector | None = None,
    period_m: float | Vector = 1.0,
    axes: np.ndarray | None = None,
    phase: Vector = (0.0, 0.0, 0.0),
    weight: Vector = (0.5, 0.7, 0.0),
    product: bool = False,
    sharpness: float = 4.0,
    grain: float = 0.0,
) -> np.ndarray:
    """One texture as a row of numbers (`Textures.table`).

    Args:
        pattern: What it shows.
        color_a: [3] linear light.
        color_b: [3] linear light; default `color_a`.
        period_m: Metres a period, one for all or one each of the three coordinates.
        axes: [3, 3] rows are the coordinates' directions in the object's frame; default its own axes.
        phase: [3] radians.
        weight: [3] of the waves' sum, or the pattern's a, b, c (`worldgen/scenes/textures.py`).
        product: Multiply the waves instead.
        sharpness: Of the change from one color to the other.
        grain: Strength of fine noise over all of it.

    Returns:
        [25] float32.
    """
    color_b = color_a if color_b is None else color_b
    wave = (np.eye(3) if axes is None else axes) * (2 * math.pi / np.broadcast_to(period_m, 3))[:, None]
    rest = [float(product), sharpness, float(pattern), grain]
    return np.concatenate([color_a, color_b, wave.ravel(), phase, weight, rest]).astype(np.float32)


def plain(color: Vector, grain: float = 0.0) -> np.ndarray:
    """A texture of one color.

    Args:
        color: [3] linear light.
        grain: Strength of fine noise over it.

    Returns:
        [25] float32, a row of `Textures.table`.
    """
    return texture(Pattern.PLAIN, color, grain=grain)


@dataclass
class Builder:
    """Collects the primitives, lamps and lane lines of one scene (metres, z up).

    Attributes:
        moments: [k] rising times, seconds, at which positions and rotations are given; default 0 alone.
    """

    moments: np.ndarray = field(default_factory=lambda: np.zeros(1, np.float32))
    _rows: list[tuple] = field(default_factory=list)
    _triangles: list[tuple[np.ndarray, int]] = field(default_factory=list)
    _lamps: list[np.ndarray] = field(default_factory=list)
    _lines: list[np.ndarray] = field(default_factory=list)
    _instances: int = 0

    def thing(self) -> int:
        """A new instance number for the parts of one thing."""
        self._instances += 1
        return self._instances

    def add(
        self,
        kind: Shape,
        center: Vector,
        size: Vector,
        texture_row: np.ndarray,
        *,
        rotation: np.ndarray | None = None,
        form: Vector = (0.5, 0.5),
        instance: int = 0,
        semantic: SemanticClass = SemanticClass.OBJECT,
        gloss: float = 0.0,
        shine: float = 20.0,
        glow: float = 0.0,
        haze_m: float = math.inf,
    ) -> int:
        """Add one primitive.

        Args:
            kind: Its shape.
            center: [3], or [k, 3] at the builder's moments, metres.
            size: [3] half extents, metres.
            texture_row: [25] (`texture`).
            rotation: [3, 3] world from object, or [k, 3, 3]; default none.
            form: [2] numbers that some shapes have (`worldgen/scenes/shapes.py`).
            instance: Number of the thing it is part of (`thing`); 0 = the background.
            semantic: Its class.
            gloss: Strength of the highlight, 0 = diffuse.
            shine: Sharpness of the highlight.
            glow: Emitted light over the color.
            haze_m: Distance over which it fades into the horizon's color, metres.

        Returns:
            Its slot.
        """
        count = len(self.moments)
        place = np.broadcast_to(np.asarray(center, np.float32), (count, 3))
        turn = np.broadcast_to(np.eye(3) if rotation is None else rotation, (count, 3, 3)).astype(np.float32)
        surface = np.array([gloss, shine, glow, haze_m], np.float32)
        self._rows.append(
            (kind, np.asarray(size), np.asarray(form), place, turn, instance, semantic, texture_row, surface)
        )
        return len(self._rows) - 1

    def mesh(self, triangles: np.ndarray, center: Vector, texture_row: np.ndarray, **options) -> int:
        """Add a mesh of triangles [m, 3, 3] in metres about its center; options as for `add`. Returns its slot."""
        extent = np.maximum(np.abs(triangles).max((0, 1)), 1e-3)
        slot = self.add(Shape.MESH, center, extent, texture_row, **options)
        self._triangles.append((triangles.astype(np.float32), slot))
        return slot

    def lamp(self, place: Vector, color: Vector) -> None:
        """Add a point light at a place [3] (metres); color [3] is its linear light at a distance of one metre."""
        self._lamps.append(np.array([place, color], np.float32))

    def line(self, points: np.ndarray) -> None:
        """Add a painted lane line through points [q, 3] (metres)."""
        self._lines.extend(np.stack([points[:-1], points[1:]], 1).astype(np.float32))

    def scene(self, to_sun: Vector, sun: Vector, ambient: Vector, horizon: Vector, zenith: Vector) -> Scene:
        """The scene under its light.

        Args:
            to_sun: [3] direction to the sun, of any length.
            sun: [3] linear light of the sun.
            ambient: [3] linear light of the surroundings.
            horizon: [3] linear color of the sky at the horizon.
            zenith: [3] linear color of the sky at the zenith.

        Returns:
            A batch of one scene.
        """
        columns = [np.stack(column) for column in zip(*self._rows)]
        kind, size, form, place, turn, instance, semantic, texture_row, surface = (
            torch.from_numpy(np.ascontiguousarray(column))[None] for column in columns
        )
        color_a, color_b, wave, phase, weight, rest = texture_row.split([3, 3, 9, 3, 3, 4], -1)
        textures = Textures(color_a, color_b, wave.unflatten(-1, (3, 3)), phase, weight, *rest.unbind(-1))
        lamps = torch.from_numpy(np.stack(self._lamps))[None] if self._lamps else torch.zeros(1, 0, 2, 3)
        sky = {"to_sun": np.asarray(to_sun) / np.linalg.norm(to_sun), "sun": sun, "ambient": ambient,
               "horizon": horizon, "zenith": zenith}  # fmt: skip
        corners = [triangles for triangles, _ in self._triangles]
        owner = [np.full(len(triangles), slot) for triangles, slot in self._triangles]
        return Scene(
            kind=kind.long(),
            size=size.float(),
            form=form.float(),
            motion=Motion(torch.from_numpy(self.moments)[None].float(), place, quaternion_wxyz_from_matrix(turn)),
            instance=instance.long(),
            semantic=semantic.long(),
            material=Materials(textures, *surface.unbind(-1)),
            light=Light(
                **{name: torch.tensor(np.asarray(value), dtype=torch.float32)[None] for name, value in sky.items()},
                lamp=lamps[:, :, 0],
                lamp_color=lamps[:, :, 1],
            ),
            triangles=torch.from_numpy(np.concatenate(corners))[None] if corners else torch.zeros(1, 0, 3, 3),
            owner=torch.from_numpy(np.concatenate(owner)).long()[None] if owner else torch.zeros(1, 0).long(),
            lines=torch.from_numpy(np.stack(self._lines))[None] if self._lines else torch.zeros(1, 0, 2, 3),
        )


@as_value
@dataclass(frozen=True)
class Thing:
    """One thing made of parts, in its own frame: x to its front, y to its left, z up, the origin on the ground below.

    Attributes:
        build: The builder of its scene.
        place: [3], or [k, 3] at the builder's moments, metres.
        heading: Direction of its front, radians about z.
        instance: Its number (`Builder.thing`).
        semantic: Its class.
        haze_m: Distance over which it fades into the horizon's color, metres.
    """

    build: Builder
    place: np.ndarray
    heading: float
    instance: int
    semantic: SemanticClass
    haze_m: float = math.inf

    def put(self, kind: Shape, center: Vector, size: Vector, texture_row: np.ndarray, **options: Any) -> None:
        """Add a part at a place in the thing's own frame; options as for `Builder.add`."""
        cosine, sine = math.cos(self.heading), math.sin(self.heading)
        turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        rotation = turn @ options.pop("rotation", np.eye(3))
        self.build.add(
            kind, self.place + turn @ np.asarray(center), size, texture_row, rotation=rotation, instance=self.instance,
            semantic=self.semantic, haze_m=self.haze_m, **options,
        )  # fmt: skip


def height_field(heights: np.ndarray, extent_m: tuple[float, float]) -> np.ndarray:
    """A terrain as triangles.

    Args:
        heights: [r, c] over a grid, metres.
        extent_m: Its size in x (columns) and y (rows), metres.

    Returns:
        [m, 3, 3] corners, centered in x and y.
    """
    rows, columns = heights.shape
    x, y = np.meshgrid(
        np.linspace(-extent_m[0] / 2, extent_m[0] / 2, columns), np.linspace(-extent_m[1] / 2, extent_m[1] / 2, rows)
    )
    points = np.stack([x, y, heights], -1).astype(np.float32)
    a, b, c, d = points[:-1, :-1], points[:-1, 1:], points[1:, :-1], points[1:, 1:]
    return np.concatenate([np.stack([a, b, d], -2), np.stack([a, d, c], -2)]).reshape(-1, 3, 3)
