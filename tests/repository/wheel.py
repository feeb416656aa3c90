"""The wheel of the repository, built and installed as users have it, but for libraries that are here already."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PIP = [sys.executable, "-m", "pip"]
OFFLINE = ["--quiet", "--no-deps", "--no-index"]
PACKAGES, BESIDE = ("geometry", "worldgen"), ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")


def built(root: Path, folder: Path) -> Path:
    """The wheel, built in `folder` from a copy of what it is made of."""
    source = folder / "source"
    source.mkdir()
    for name in BESIDE:
        shutil.copy(root / name, source / name)
    for name in (*PACKAGES, "configs"):
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    command = [*PIP, "wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", folder, source]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def held(wheel: Path) -> set[str]:
    """The files in a wheel, but for what it says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def installed(root: Path, folder: Path) -> dict[str, str]:
    """The environment in which Python finds the packages of the wheel, which it is installed from into `folder`."""
    folder.mkdir()
    site = folder / "site"
    subprocess.run([*PIP, "install", *OFFLINE, "--target", site, built(root, folder)], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return environment | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
