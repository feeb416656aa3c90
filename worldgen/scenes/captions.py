"""Captions: one sentence about a scene, made from its contents."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from worldgen.scenes.classes import SemanticClass
from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import Shape

_COLORS = {  # linear light
    "red": (0.6, 0.05, 0.04), "orange": (0.75, 0.25, 0.03), "yellow": (0.75, 0.6, 0.06), "green": (0.08, 0.4, 0.08),
    "turquoise": (0.05, 0.5, 0.45), "blue": (0.05, 0.12, 0.6), "purple": (0.3, 0.06, 0.5), "pink": (0.8, 0.3, 0.5),
    "brown": (0.2, 0.09, 0.04), "black": (0.02, 0.02, 0.02), "grey": (0.2, 0.2, 0.2), "white": (0.8, 0.8, 0.8),
}  # fmt: skip
_NUMBERS = ("no", "a", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NOUNS = {SemanticClass.VEGETATION: "plant", SemanticClass.SHELF: "bookcase"}
_TRAFFIC = (SemanticClass.CAR, SemanticClass.TRUCK, SemanticClass.PEDESTRIAN)  # named first
_BACKGROUND = (SemanticClass.GROUND, SemanticClass.WALL, SemanticClass.FLOOR, SemanticClass.ROAD,
               SemanticClass.LANE_LINE, SemanticClass.SIDEWALK)  # fmt: skip


def color_names(colors: Tensor) -> list[str]:
    """The nearest common names of linear colors [n, 3], by chromaticity first and brightness second."""

    def features(rgb: Tensor) -> Tensor:
        bright = rgb.clamp_min(1e-4) ** (1 / 2.2)
        mean = bright.mean(-1, keepdim=True)
        return torch.cat([bright - mean, 0.4 * mean], -1)

    names = list(_COLORS)
    nearest = torch.cdist(features(colors), features(torch.tensor(list(_COLORS.values())).to(colors))).argmin(-1)
    return [names[n] for n in nearest.tolist()]


def scene_captions(scene: Scene, settings: Sequence[str]) -> tuple[str, ...]:
    """One sentence for each scene: what is there, with colors and counts, and its setting ("in a room at night")."""
    return tuple(_caption(scene, b, setting) for b, setting in enumerate(settings))


def _caption(scene: Scene, b: int, setting: str) -> str:
    things: dict[int, tuple[bool, float, str]] = {}
    textures = scene.material.textures
    colors = color_names((textures.color_a[b] + textures.color_b[b]) / 2)
    volumes, classes = scene.size[b].prod(-1).tolist(), scene.semantic[b].tolist()
    kinds, instances = scene.kind[b].tolist(), scene.instance[b].tolist()
    for n, (kind, instance, volume) in enumerate(zip(kinds, instances, volumes)):
        if kind < 0:
            continue
        semantic = SemanticClass(classes[n])
        if semantic in _BACKGROUND or instance == 0:
            continue
        if volume <= things.get(instance, (False, 0.0, ""))[1]:
            continue  # a thing is named by its largest part
        noun = _NOUNS.get(semantic, semantic.name)
        if semantic is SemanticClass.OBJECT:
            noun = Shape(kind).name
        things[instance] = (semantic in _TRAFFIC, volume, f"{colors[n]} {noun.lower().replace('_', ' ')}")
    counts = Counter(name for _, _, name in sorted(things.values(), reverse=True))
    parts = [_count(name, count) for name, count in list(counts.items())[:6]]
    if not parts:
        return f"An empty scene {setting}."
    listed = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    return f"{listed[0].upper()}{listed[1:]} {setting}."


def _count(name: str, count: int) -> str:
    if count == 1:
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    number = _NUMBERS[count] if count < len(_NUMBERS) else "many"
    return f"{number} {name}{'es' if name.endswith(('s', 'x', 'sh')) else 's'}"
