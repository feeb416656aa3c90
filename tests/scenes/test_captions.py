"""Sentences about scenes: each thing once, by its largest part, with its color."""

import numpy as np
import pytest

from worldgen.scenes.captions import scene_captions
from worldgen.scenes.classes import SemanticClass
from worldgen.scenes.families.builder import Builder, plain
from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import Shape

RED, BLUE = plain((0.7, 0.02, 0.02)), plain((0.02, 0.03, 0.7))
LIGHT = np.full(3, 0.4)


def scene(build: Builder) -> Scene:
    build.add(Shape.PLANE, (0, 0, 0), (1, 1, 1), plain((0.5, 0.5, 0.5)), semantic=SemanticClass.GROUND)
    return build.scene((0.0, 0.0, 1.0), LIGHT, LIGHT, LIGHT, LIGHT)


@pytest.mark.parametrize("large_first", [True, False])
def test_a_thing_is_named_by_its_largest_part(large_first: bool) -> None:
    build = Builder()
    thing = build.thing()
    parts = [(Shape.BOX, 0.5, RED), (Shape.BALL, 0.1, BLUE)]
    for shape, size, look in parts if large_first else parts[::-1]:
        build.add(shape, (0, 0, 1), (size, size, size), look, instance=thing)
    assert scene_captions(scene(build), ["in a room"]) == ("A red box in a room.",)


def test_things_alike_are_counted_and_an_empty_scene_says_so() -> None:
    build = Builder()
    for x in range(3):
        build.add(Shape.BOX, (x, 0, 1), (0.4, 0.4, 0.4), RED, instance=build.thing())
    build.add(Shape.BALL, (0, 3, 1), (0.2, 0.2, 0.2), BLUE, instance=build.thing())
    assert scene_captions(scene(build), ["at night"]) == ("Three red boxes and a blue ball at night.",)
    assert scene_captions(scene(Builder()), ["at night"]) == ("An empty scene at night.",)
