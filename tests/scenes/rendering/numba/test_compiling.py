"""What numba keeps on disk of this project is compiled anew when any of its sources changes."""

import ast
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")
COMPILED = [
    "worldgen.scenes.rendering.numba.images",
    "worldgen.scenes.rendering.numba.tracing",
    "worldgen.scenes.physics.solver",
    "geometry.gaussians.splat_kernels",
]
# Values that only Python code uses: tensors come from them, but no constant or function of compiled code.
HOST = {"worldgen.scenes.rendering.solids", "worldgen.scenes.scene", "worldgen.scenes.physics.bodies",
        "geometry.compiling", "geometry.shapes", "geometry.gaussians.projection", "geometry.gaussians.splats",
        "geometry.camera.cameras", "geometry.camera.lenses", "geometry.camera.rays", "geometry.errors",
        "geometry.values"}  # fmt: skip


def imported(root: Path, module: str) -> set[str]:
    """The project's modules that a module imports from, directly or through others, but for those of HOST."""
    found: set[str] = set()
    left = [module]
    while left:
        for node in ast.walk(ast.parse((root / f"{left.pop().replace('.', '/')}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("geometry", "worldgen"):
                inner = (f"{node.module}.{alias.name}" for alias in node.names)
                names = [n if (root / f"{n.replace('.', '/')}.py").is_file() else str(node.module) for n in inner]
                left += {name for name in names if name not in found | HOST}
                found |= set(names) - HOST
    return found


@pytest.mark.parametrize("name", COMPILED)
def test_the_sources_of_compiled_code_are_all_modules_that_it_is_made_from(name: str, root: Path) -> None:
    sources = importlib.import_module(name).SOURCES
    assert {module.__name__ for module in sources} == imported(root, name)


def test_whatever_is_kept_on_disk_knows_its_sources(root: Path) -> None:
    files = [*root.glob("worldgen/**/*.py"), *root.glob("geometry/**/*.py")]
    text = {".".join(path.relative_to(root).with_suffix("").parts): path.read_text() for path in files}
    assert not [name for name, source in text.items() if "cache=True" in source.replace(" ", "")]
    keeping = {name for name, source in text.items() if "compiled(*SOURCES" in source or "@entry(*SOURCES" in source}
    assert keeping == set(COMPILED)
    decorators = {"geometry.compiling", "worldgen.scenes.rendering.numba.compiling"}
    assert {name for name, source in text.items() if "compiled(" in source} == {*COMPILED, *decorators} - {
        "worldgen.scenes.rendering.numba.images",
        "worldgen.scenes.rendering.numba.tracing",
    }


SPLATS = """
import numpy as np
from geometry.gaussians.splat_kernels import blend
features = np.array([[8, 8, 0.1, 0, 0.1, 0, 0.5, 0.25, 1, 2]], np.float32)
image, one = np.zeros((5, 16, 16), np.float32), np.ones(1, np.int64)
blend(features, 0 * one, 0 * one, one, 1, image, 0, 1)
value, stats = image[4].max(), blend.stats
"""
SCENE = """
import torch
torch.set_num_threads(1)
from tests.scenes.solids import around, random_scene
from worldgen.scenes.rendering.numba.images import _render
from worldgen.scenes.rendering.renderer import render
from worldgen.scenes.shapes import Shape
value = render(random_scene([Shape.BALL, Shape.BOX]), around(1, 16), 1).rgb.double().mean()
stats = _render.stats
"""
EDITS = {
    "splats": (SPLATS, "geometry/gaussians/splatting.py", "= 0.999, 1 / 255", "= 0.5, 1 / 255"),
    "shading": (SCENE, "worldgen/scenes/rendering/numba/shading.py", "_F(0.75) + _F(0.25)", "_F(0.05) + _F(0.25)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EDITS)
def test_an_edit_of_a_dependent_source_reaches_the_images(name: str, tmp_path: Path, root: Path) -> None:
    script, file, old, new = EDITS[name]
    for package in ("geometry", "worldgen", "tests"):
        left_out = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(root / package, tmp_path / package, ignore=left_out)
    script += "import json; print(json.dumps([float(value), sum(stats.cache_hits.values())]))"

    def run() -> tuple[float, int]:
        command, environment = [sys.executable, "-c", script], os.environ | {"PYTHONPATH": str(tmp_path)}
        return tuple(json.loads(subprocess.check_output(command, cwd=tmp_path, env=environment, text=True)))

    before, hits = run()
    assert hits == 0
    assert run() == (before, 1)
    path = tmp_path / file
    assert path.read_text().count(old) >= 1
    path.write_text(path.read_text().replace(old, new))
    after, hits = run()
    assert hits == 0
    assert abs(after - before) > 1e-3
    assert run() == (after, 1)
