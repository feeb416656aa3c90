"""`worldgen cameras`: paths in files shown, described, checked and converted."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from geometry.camera.cameras import Cameras
from geometry.errors import InputError

_READ = "transforms.json, a COLMAP model's folder, a camera script (.yaml), .tum, .kitti, .re10k or our own .json"


def read_cameras(path: Path, fov_deg: float = 50.0, hw: tuple[int, int] = (480, 640)) -> Cameras:
    """The cameras [n] in a file, by its name; `fov_deg` and `hw` are of formats that keep no sizes or poses alone.

    Raises InputError for a file of another kind, or one that is not as it should be.
    """
    import torch

    from geometry.io.captures.colmap import read_colmap
    from geometry.io.captures.nerfstudio import read_transforms
    from geometry.io.captures.realestate10k import read_realestate10k
    from geometry.io.trajectories.camera_script import read_camera_script
    from geometry.io.trajectories.pose_files import read_cameras_json, read_kitti, read_tum

    if path.is_dir():
        return read_colmap(path, need_images=False).images.cameras
    if path.name.startswith("transforms") and path.suffix == ".json":
        return read_transforms(path, need_images=False).cameras
    if path.suffix == ".json":
        return read_cameras_json(path)
    if path.suffix in (".yaml", ".yml"):
        return read_camera_script(path).cameras()
    if path.suffix == ".tum":
        time_s, poses = read_tum(path)
        return replace(Cameras.from_fov(poses, fov_deg, hw), time_s=time_s)
    if path.suffix == ".kitti":
        poses = read_kitti(path)
        return replace(Cameras.from_fov(poses, fov_deg, hw), time_s=torch.arange(len(poses)).double())
    if path.suffix == ".re10k":
        return read_realestate10k(path, hw=hw).cameras
    raise InputError(f"{path}: cameras of an unknown kind; expected {_READ}")


def write_cameras(path: Path, cameras: Cameras) -> None:
    """Write cameras in the format a file's name says: transforms.json, .tum, .kitti, .re10k, our own .json, or a folder
    (no suffix) for a COLMAP model.

    Raises InputError for another name.
    """
    from geometry.io.captures.colmap_writer import colmap_model, write_colmap
    from geometry.io.captures.nerfstudio import write_transforms
    from geometry.io.captures.realestate10k import write_realestate10k
    from geometry.io.trajectories.pose_files import write_cameras_json, write_kitti, write_tum

    names = [f"frames/{n:05d}.png" for n in range(len(cameras))]
    if path.name.startswith("transforms") and path.suffix == ".json":
        write_transforms(path, cameras, names)
    elif path.suffix == "":
        write_colmap(path, colmap_model(cameras, names))
    elif path.suffix == ".json":
        write_cameras_json(path, cameras)
    elif path.suffix == ".tum":
        write_tum(path, cameras.time_s, cameras.world_from_camera)
    elif path.suffix == ".kitti":
        write_kitti(path, cameras.world_from_camera)
    elif path.suffix == ".re10k":
        write_realestate10k(path, cameras)
    else:
        raise InputError(
            f"{path}: cameras of an unknown kind; expected transforms.json, .json, .tum, .kitti, .re10k or a folder"
        )


@dataclass(frozen=True)
class Show:
    """Draw cameras from above and from the side, say where they look, and what is suspicious about them."""

    file: tyro.conf.Positional[Path]
    """transforms.json, a COLMAP model's folder, a camera script (.yaml), .tum, .kitti, .re10k or our own .json."""
    output: Path | None = None
    """PNG to draw to (default: say in words only)."""
    every: int = 0
    """Describe every so manyth camera (default: about ten)."""

    def run(self) -> None:
        """Read, describe, draw."""
        from geometry.camera.drawing import draw_cameras
        from geometry.io.images import write_png
        from geometry.trajectory.checks import describe, lint

        cameras = read_cameras(self.file)
        every = self.every or max(1, len(cameras) // 10)
        print(describe(cameras[::every]))
        for finding in lint(cameras):
            print(f"suspicious: {finding}")
        if self.output is not None:
            write_png(self.output, draw_cameras(cameras))
            print(self.output)


@dataclass(frozen=True)
class Convert:
    """Convert cameras between file formats, chosen by the files' names."""

    source: tyro.conf.Positional[Path]
    """transforms.json, a COLMAP model's folder, a camera script (.yaml), .tum, .kitti, .re10k or our own .json."""
    target: tyro.conf.Positional[Path]
    """transforms.json, .tum, .kitti, .re10k, our own .json, or a new folder for a COLMAP model."""
    fov_deg: float = 50.0
    """Field of view over the shorter side, where the source keeps poses alone."""
    size: tuple[int, int] = (480, 640)
    """Height and width of images, where the source keeps poses alone."""

    def run(self) -> None:
        """Read and write."""
        cameras = read_cameras(self.source, self.fov_deg, self.size)
        write_cameras(self.target, cameras)
        print(f"{len(cameras)} cameras: {self.target}")


@dataclass(frozen=True)
class CameraTools:
    """Show, check and convert camera paths."""

    what: tyro.conf.OmitSubcommandPrefixes[
        Annotated[Show, tyro.conf.subcommand("show")] | Annotated[Convert, tyro.conf.subcommand("convert")]
    ]

    def run(self) -> None:
        """Do it."""
        self.what.run()
