"""The package as a whole."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import geometry
from tests.repository.import_graph import graph, modules

PACKAGES = ["camera", "gaussians", "image", "mesh", "points", "rotation", "stereo", "trajectory"]

# Lowest first: a package imports only from lower ones. The modules of the root may import each other.
LAYERS = (
    ("compiling", "conventions", "errors", "lazy", "optional", "shapes", "similarity", "values"), ("rotation",),
    ("camera",), ("image", "trajectory"), ("points", "stereo"), ("gaussians", "mesh"), ("io",), ("interop",),
    ("public",),
)  # fmt: skip
# The renderer on CUDA is another library's.
KNOWN_UPWARD = {("geometry.gaussians.rendering", "geometry.interop.gsplat")}


def test_no_package_imports_from_one_above_or_beside_it(root: Path) -> None:
    layer = {name: n for n, names in enumerate(LAYERS) for name in names}
    arrows = graph({name: path.read_text("utf-8") for name, path in modules(root).items() if name != "geometry"})
    parts = {name: name.split(".")[1] for name in arrows if name.startswith("geometry.")}
    assert set(parts.values()) == set(layer)
    found = {
        (start, end)
        for start, ends in arrows.items()
        for end in ends
        if start in parts and end in parts and parts[start] != parts[end] and layer[parts[end]] >= layer[parts[start]]
    }
    assert {arrow for arrow in found if layer[parts[arrow[0]]] > 0} <= KNOWN_UPWARD


def test_every_public_name_exists_and_is_documented() -> None:
    assert geometry.__all__ == sorted(geometry.__all__)
    assert [name for name in geometry.__all__ if not getattr(geometry, name).__doc__] == []


def test_the_public_names_of_the_packages_are_those_of_geometry() -> None:
    inner = {name: importlib.import_module(f"geometry.{name}") for name in PACKAGES}
    for name, package in inner.items():
        assert {n for n in package.__all__ if getattr(geometry, n) is not getattr(package, n)} == set(), name
    names = [name for package in inner.values() for name in package.__all__]
    assert len(geometry.__all__) == len(set(geometry.__all__)) and set(names) < set(geometry.__all__)


def test_no_public_name_hides_a_module() -> None:
    for package in (geometry, *(importlib.import_module(f"geometry.{name}") for name in PACKAGES)):
        modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
        assert modules & set(package.__all__) == set(), package.__name__


def test_importing_any_module_leaves_pillow_and_scipy_alone() -> None:
    code = """
import pkgutil, sys, geometry
for module in pkgutil.walk_packages(geometry.__path__, "geometry."):
    if module.name != "geometry.gaussians.splat_kernels":  # numba's own, loaded with it, which looks for scipy
        __import__(module.name)
print(sorted({"PIL", "scipy", "skimage", "av", "trimesh", "open3d"} & set(sys.modules)))
"""
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown.strip() == "[]"


def test_jaxtyping_is_left_alone_unless_it_is_there_already() -> None:
    code = "import sys{}, geometry, inspect; print('jaxtyping' in sys.modules, inspect.signature(geometry.plucker))"
    for first, loaded, shown in (("", "False", "torch.Tensor"), (", jaxtyping", "True", "*b 6 h w")):
        run = subprocess.run([sys.executable, "-c", code.format(first)], check=True, capture_output=True, text=True)
        assert run.stdout.startswith(loaded) and shown in run.stdout, run.stdout
