"""The package as a whole."""

import importlib
import pkgutil
import subprocess
import sys

import geometry

PACKAGES = ["camera", "gaussians", "image", "mesh", "points", "rotation", "trajectory"]


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
