"""Random materials: palettes, and textures of wood, cloth, bricks and others.

All functions draw from a numpy generator; textures are rows of `worldgen.scenes.families.builder.texture`. Colors are
linear light.
"""

import math
from typing import Any

import numpy as np

from worldgen.scenes.families.builder import plain, texture
from worldgen.scenes.textures import Pattern


def color(rng: np.random.Generator, saturation: float = 0.5, low: float = 0.15, high: float = 0.9) -> np.ndarray:
    """One color: any hue, saturation U(0, 2 saturation) clipped at 1, brightness (sRGB) U(low, high)."""
    return from_hsv(rng.random(), min(1.0, rng.uniform(0, 2 * saturation)), rng.uniform(low, high))


def from_hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """Linear color of a hue (0..1), saturation and value (HSV in sRGB)."""
    wheel = (6 * hue + np.array([5.0, 3.0, 1.0])) % 6
    srgb = value * (1 - saturation * np.clip(np.minimum(wheel, 4 - wheel), 0, 1))
    return (np.clip(srgb, 0.01, 1) ** 2.2).astype(np.float32)


def pair(rng: np.random.Generator, saturation: float = 0.45, contrast: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Two colors, near in hue (70%) or opposite (30%), of different brightness."""
    hue, first = rng.random(), rng.uniform(0.3, 0.95)
    other = hue + (rng.normal(0, 0.06) if rng.random() < 0.7 else 0.5 + rng.normal(0, 0.08))
    second = np.clip(first + contrast * rng.choice([-1, 1]) * rng.uniform(0.15, 0.6), 0.08, 0.98)
    s = np.clip(rng.normal(saturation, 0.25, 2), 0.02, 1)
    return from_hsv(hue, s[0], first), from_hsv(other % 1, s[1], float(second))


def turned_axes(rng: np.random.Generator, flat: bool = False) -> np.ndarray:
    """Random axes [3, 3] for a texture; flat: turned about z only."""
    if flat:
        angle = rng.uniform(0, 2 * math.pi)
        return np.array([[math.cos(angle), math.sin(angle), 0], [-math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    return np.linalg.qr(rng.normal(size=(3, 3)))[0]


def anything(rng: np.random.Generator, size_m: float, saturation: float = 0.45, flat: bool = False) -> np.ndarray:
    """Any pattern, with periods between a tenth and 1.5 times the size of the thing.

    Shares: noise 20%, color noise 12%, marble 9%, wood 8%, bricks and tiles 10%, worley 9%, stripes and checks 12%,
    glyphs 6%, gradients 4%, speckle 5%, plain 5%.
    """
    kinds = ["noise", "color", "marble", "wood", "bricks", "worley", "waves", "glyphs", "gradient", "speckle", "plain"]
    chance = np.array([20, 12, 9, 8, 10, 9, 12, 6, 4, 5, 5], float)
    kind = rng.choice(kinds, p=chance / chance.sum())
    a, b = pair(rng, saturation)
    if kind == "plain":
        return plain(a, grain=rng.uniform(0.02, 0.1))
    period = size_m * 2 ** rng.uniform(-3.3, 0.6)
    grain, phase = rng.uniform(0, 0.12), rng.uniform(0, 2 * math.pi, 3)
    axes, sharp = turned_axes(rng, flat), 2 ** rng.uniform(0, 4)
    common: dict[str, Any] = {"period_m": period, "phase": phase, "grain": grain}
    if kind == "noise":
        return texture(Pattern.NOISE, a, b, axes=axes, weight=(rng.uniform(0.4, 0.9), rng.uniform(0.2, 1.2), 0),
                       sharpness=sharp, **common)  # fmt: skip
    if kind == "color":
        return texture(Pattern.COLOR, a, b, axes=axes, weight=(rng.uniform(0.5, 0.9), 0.7, 0), sharpness=2.0, **common)
    if kind == "marble":
        return texture(Pattern.MARBLE, a, b, axes=axes, weight=(rng.uniform(0.6, 2), 0, 0), sharpness=sharp, **common)
    if kind == "wood":
        return wood(rng, period)
    if kind == "bricks":
        weight = (rng.choice([0.0, 0.5]), rng.uniform(0.03, 0.3), rng.uniform(0, 0.4))
        common["period_m"] = period * np.array([1.0, 1.0, rng.uniform(0.4, 1)])
        return texture(Pattern.BRICKS, b, a, axes=np.eye(3), weight=weight, sharpness=4.0, **common)
    if kind == "worley":
        return texture(
            Pattern.WORLEY, a, b, axes=axes, weight=(rng.choice([0.0, 1.0]), 0, 0), sharpness=sharp, **common
        )
    if kind == "waves":
        product = bool(rng.random() < 0.4)
        weight = (1.0, 0.0, 0.0) if rng.random() < 0.6 else (0.6, 0.6, 0.6)
        axes = np.eye(3) if product else axes
        # Waves are never filtered: no periods below a third of the thing.
        return texture(Pattern.WAVES, a, b, max(period, size_m / 3), axes, phase, weight, product, sharp)
    if kind == "glyphs":
        return texture(Pattern.GLYPHS, a, b, axes=np.eye(3), sharpness=8.0, **common)
    if kind == "gradient":
        return texture(Pattern.GRADIENT, a, b, axes=axes, sharpness=2.0, period_m=2 * size_m, phase=phase, grain=grain)
    return texture(Pattern.SPECKLE, a, b, axes=axes, weight=(rng.uniform(0.3, 0.9), 0, 0), sharpness=6.0, **common)


def wood(rng: np.random.Generator, period_m: float = 0.08) -> np.ndarray:
    """Wood of any common color, its grain along a random axis of the thing."""
    value = rng.uniform(0.25, 0.8)
    a = from_hsv(rng.uniform(0.05, 0.1), rng.uniform(0.35, 0.7), value)
    b = a * rng.uniform(0.35, 0.75)
    axes = np.roll(np.eye(3), rng.integers(3), axis=0)
    return texture(Pattern.WOOD, a, b, period_m, axes, rng.uniform(-9, 9, 3), (rng.uniform(0.5, 1.6), 0, 0),
                   sharpness=1.5, grain=0.08)  # fmt: skip


def planks(rng: np.random.Generator) -> np.ndarray:
    """A wooden floor: long boards, each of its own tint."""
    a = from_hsv(rng.uniform(0.05, 0.1), rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.8))
    board = np.array([rng.uniform(0.8, 1.6), rng.uniform(0.08, 0.2), 1.0])
    return texture(Pattern.BRICKS, a * 0.3, a, board, turned_axes(rng, flat=True), weight=(0.5, 0.03, 0.25),
                   sharpness=4.0, grain=0.12)  # fmt: skip


def tiles(rng: np.random.Generator, side_m: float = 0.4) -> np.ndarray:
    """Square tiles or bricks with joints."""
    a, b = pair(rng, 0.2, 0.6)
    weight = (rng.choice([0.0, 0.5]), rng.uniform(0.03, 0.1), rng.uniform(0, 0.2))
    return texture(Pattern.BRICKS, b, a, side_m * rng.uniform(0.6, 1.5), weight=weight, sharpness=4.0, grain=0.06)


def paving(rng: np.random.Generator) -> np.ndarray:
    """Gray or sandy slabs of a sidewalk."""
    a = from_hsv(rng.uniform(0.05, 0.15), rng.uniform(0, 0.25), rng.uniform(0.45, 0.85))
    weight = (rng.choice([0.0, 0.5]), rng.uniform(0.03, 0.08), rng.uniform(0, 0.15))
    return texture(Pattern.BRICKS, a * 0.6, a, rng.uniform(0.3, 0.8), weight=weight, sharpness=4.0, grain=0.08)


def cloth(rng: np.random.Generator, size_m: float) -> np.ndarray:
    """Woven or printed cloth: plain, striped, checked or with a noisy print."""
    a, b = pair(rng, 0.5, 0.6)
    kind, period = rng.random(), size_m * rng.uniform(0.1, 0.4)
    if kind < 0.4:
        return plain(a, grain=rng.uniform(0.08, 0.2))
    if kind < 0.75:
        return texture(Pattern.WAVES, a, b, max(period, 0.12), turned_axes(rng, True), weight=(1, 0, 0),
                       product=bool(rng.random() < 0.4), sharpness=6.0)  # fmt: skip
    return texture(Pattern.NOISE, a, b, period, weight=(0.6, 0.8, 0), sharpness=4.0, grain=0.1)


def wall(rng: np.random.Generator) -> np.ndarray:
    """Paint, plaster, wallpaper with stripes, or bricks."""
    kind = rng.random()
    a = from_hsv(rng.random(), rng.uniform(0, 0.35), rng.uniform(0.5, 0.97))
    if kind < 0.45:
        return plain(a, grain=rng.uniform(0.01, 0.05))
    if kind < 0.7:
        return texture(Pattern.NOISE, a, a * rng.uniform(0.75, 0.95), 0.8, weight=(0.7, 0.7, 0), grain=0.04)
    if kind < 0.85:
        stripes = np.eye(3)[[1, 0, 2]]  # upright ones, across the wall's own y
        return texture(Pattern.WAVES, a, a * rng.uniform(0.6, 0.9), rng.uniform(0.2, 0.5), stripes, weight=(1, 0, 0),
                       sharpness=8.0)  # fmt: skip
    brick = from_hsv(rng.uniform(0, 0.07), rng.uniform(0.2, 0.6), rng.uniform(0.35, 0.8))
    return texture(Pattern.BRICKS, brick * 0.6 + 0.1, brick, (0.25, 0.25, 0.09), weight=(0.5, 0.1, 0.25), grain=0.1)


def leaves(rng: np.random.Generator, size_m: float = 0.3) -> np.ndarray:
    """Foliage."""
    a = from_hsv(rng.uniform(0.18, 0.38), rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.6))
    return texture(Pattern.NOISE, a, a * 0.25, size_m, weight=(0.95, 1.2, 0), sharpness=3.0, grain=0.25)


def sky(rng: np.random.Generator, brightness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Colors of the horizon and the zenith: blue (75%), else pale in any hue."""
    kind = rng.random()
    hue = rng.uniform(0.55, 0.62) if kind < 0.75 else rng.random()
    saturation = rng.uniform(0.2, 0.7) if kind < 0.75 else rng.uniform(0, 0.2)
    zenith = from_hsv(hue, saturation, rng.uniform(0.5, 0.9))
    horizon = from_hsv(hue + rng.normal(0, 0.02), saturation * rng.uniform(0.1, 0.5), rng.uniform(0.75, 1.0))
    return horizon * brightness, zenith * brightness
