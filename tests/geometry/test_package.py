"""The package as a whole."""

import subprocess
import sys

import geometry


def test_every_public_name_exists_and_is_documented() -> None:
    assert geometry.__all__ == sorted(geometry.__all__)
    assert [name for name in geometry.__all__ if not getattr(geometry, name).__doc__] == []


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
