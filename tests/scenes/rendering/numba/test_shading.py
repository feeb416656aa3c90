"""The compiled renderer gives the images and truths of the torch reference, for every family, shape and lens."""

import sys

import numpy as np
import pytest

from geometry.camera.cameras import Cameras
from geometry.optional import has_numba
from tests.scenes.solids import around, random_scene
from worldgen.scenes.cameras.random_lenses import bulged, fisheye
from worldgen.scenes.cameras.sampling import ClipSpec
from worldgen.scenes.families.family import FAMILIES, draw, views
from worldgen.scenes.rendering.renderer import TRUTHS, numba_can_render, render
from worldgen.scenes.shapes import Shape

SOLID = [kind for kind in Shape if kind not in (Shape.NONE, Shape.MESH, Shape.PLANE)]


@pytest.mark.skipif(not has_numba(), reason="needs the [fast] extra")
@pytest.mark.parametrize("name", [*FAMILIES, "all shapes", "lenses"])
def test_compiled_images_and_truths_equal_torchs(name, monkeypatch) -> None:
    truths = TRUTHS
    if name == "all shapes":
        scene, cameras = random_scene([SOLID[n % len(SOLID)] for n in range(24)], terrain=True), around(3, 40)
    elif name == "lenses":  # a pinhole and two lenses, of which numba knows no projection
        scene, truths = draw("street", 3, [0, 1]), ("normals", "classes", "scene_flow")
        pinholes = views("street", scene, 3, [0, 1], False, ClipSpec(3, 4.0, (40, 40)))
        bent = [lens(np.random.default_rng(0), pinholes[1, :1]) for lens in (fisheye, bulged)]
        cameras = Cameras.cat([pinholes[0], *bent, pinholes[1, 2:]]).reshape(2, 3)
        assert numba_can_render(scene, cameras, truths) and not numba_can_render(scene, cameras, TRUTHS)
    else:
        scene = draw(name, 3, [0, 1])
        cameras = views(name, scene, 3, [0, 1], False, ClipSpec(3, 4.0, (40, 40)))
    fast = render(scene, cameras, 2, truths).maps()
    monkeypatch.setattr(sys.modules["worldgen.scenes.rendering.renderer"], "numba_can_render", lambda *_: False)
    reference = render(scene, cameras, 2, truths).maps()
    assert fast.keys() == reference.keys()
    tolerance = {"rgb": 2e-3, "depth": 1e-3, "normals": 1e-3, "flow": 0.1, "scene_flow": 1e-3}
    for kind, expected in reference.items():
        found, expected = fast[kind].double(), expected.double()
        known = expected.isfinite() & found.isfinite()
        error = ((found - expected).abs() / (1 + expected.abs()))[known]  # relative for what is far away
        # Rays differ by rounding: at silhouettes, and the edges of shadows and textures, one may fall on either side.
        assert (known == expected.isfinite()).double().mean() > 0.999, kind
        assert (error > tolerance.get(kind, 0.0)).double().mean() < 3e-3, (kind, float(error.max()))
        assert float(error.median()) < 2e-5, kind
