"""`PosedImage`: what every reader of captures returns, whatever its file format."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens
from geometry.camera.projection import project
from geometry.errors import InputError
from geometry.io.entries import inside, number, shown
from geometry.io.files import check_file
from geometry.io.images import image_hw, read_depth_png, read_image
from geometry.rotation.transforms import invert_rigid
from geometry.shapes import Float
from geometry.similarity import Similarity


@dataclass(frozen=True)
class Lidar:
    """A LiDAR sweep that belongs to an image.

    Attributes:
        path: x y z ... in metres: .npy of shape [n, c], .npz with such a "data", or raw float32 rows.
        camera_from_lidar: [4, 4] float64, from the sensor at its own time to the camera at the image's time.
        columns: of raw rows.
    """

    path: Path
    camera_from_lidar: Float[torch.Tensor, "4 4"]
    columns: int

    def read(self) -> Float[torch.Tensor, "n 3"]:
        """The points in the sensor's frame, metres.

        Raises:
            InputError: the file is missing, of another size or shape, or holds NaN or Inf.
        """
        check_file(self.path, "a LiDAR sweep", 2**30)
        try:
            if self.path.suffix in (".npy", ".npz"):
                rows = np.load(self.path, allow_pickle=False)
                rows = rows["data"] if self.path.suffix == ".npz" else rows
            else:
                rows = np.fromfile(self.path, np.float32).reshape(-1, self.columns)
            points = torch.from_numpy(np.array(rows[:, :3], np.float64))
        except Exception as error:  # a broken file can raise nearly anything
            raise InputError(f"{self.path}: not a LiDAR sweep; expected float32 rows of {self.columns}") from error
        if not bool(points.isfinite().all()):
            raise InputError(f"{self.path}: LiDAR points with NaN or Inf; expected finite numbers")
        return points


@dataclass(frozen=True)
class Sweep:
    """A LiDAR file with its pose in the world; `path` and `columns` as of `Lidar`."""

    path: Path
    columns: int
    world_from_lidar: Float[torch.Tensor, "4 4"]

    def seen_from(self, world_from_camera: Float[torch.Tensor, "4 4"]) -> Lidar:
        """The sweep for an image of that pose."""
        return Lidar(self.path, invert_rigid(world_from_camera) @ self.world_from_lidar, self.columns)


@dataclass(frozen=True)
class PosedImage:
    """One image of a capture.

    Attributes:
        file_path: as written in the capture's file.
        path: the image (or the video it is a frame of) on disk, absolute; None where it is missing.
        world_from_camera: [4, 4] float64, rigid, OpenCV axes, the user's units.
        K: [3, 3] float64, pixels, centers at +0.5.
        hw: height and width in pixels.
        lens: of batch shape [], float64 (`geometry.camera.lenses`); None for a pinhole.
        depth_path: its depth as a 16-bit PNG in `metres_per_unit`; None where it is not named or missing.
        view: which physical camera; 0 where the file does not say.
        time_s: when, seconds; 0 where the file does not say.
        metres_per_unit: of the depth PNG.
        video_s: where in the video `path` the frame is, seconds; None for an image of its own.
        lidar: a LiDAR sweep taken with it.
    """

    file_path: str
    path: Path | None
    world_from_camera: Float[torch.Tensor, "4 4"]
    K: Float[torch.Tensor, "3 3"]
    hw: tuple[int, int]
    lens: Lens | None = None
    depth_path: Path | None = None
    view: int = 0
    time_s: float = 0.0
    metres_per_unit: float = 0.001
    video_s: float | None = None
    lidar: Lidar | None = None

    @property
    def camera(self) -> Cameras:
        """The camera with its lens, float64, of batch shape []."""
        view, time_s = torch.tensor(self.view), torch.tensor(self.time_s, dtype=torch.float64)
        return Cameras(self.world_from_camera, self.K, self.hw, view, time_s, self.lens)

    def moved(self, new_from_old: Similarity) -> "PosedImage":
        """The same image in another world."""
        return replace(self, world_from_camera=new_from_old.apply(self.camera[None]).world_from_camera[0])

    def read(self) -> Float[torch.Tensor, "3 h w"]:
        """The image as stored, sRGB in 0..1; the EXIF orientation is ignored, as calibration tools do.

        Raises:
            InputError: it is missing, unreadable, or of another size than `hw`.
        """
        if self.path is None:
            raise InputError(f"{self.file_path}: no such image; expected the one its capture names")
        if self.video_s is not None:
            from geometry.io.video import read_mp4_at

            return self.checked(read_mp4_at(self.path, [self.video_s])[0])
        return self.checked(read_image(self.path, upright=False))

    def checked(self, rgb: Float[torch.Tensor, "3 h w"]) -> Float[torch.Tensor, "3 h w"]:
        """`rgb` itself.

        Raises:
            InputError: it has another size than `hw`.
        """
        if tuple(rgb.shape[-2:]) != self.hw:
            raise InputError(size_mismatch(str(self.path), (rgb.shape[-2], rgb.shape[-1]), self.hw))
        return rgb

    def read_depth(self, camera: Cameras) -> Float[torch.Tensor, "1 h w"]:
        """Depth as another camera in the same place sees it.

        A depth map is looked up (nearest pixel), a LiDAR sweep projected (nearest point). Depth maps do not go with
        lenses: where the image or the camera has one, they count as unknown.

        Args:
            camera: of batch shape [], with the pose of the image and any window and size.

        Returns:
            z in metres, 0 = unknown, inf = sky.
        """
        if self.lidar is not None:
            lens = None if camera.lens is None else camera.lens.to(torch.float64)
            seen = Cameras(self.lidar.camera_from_lidar.inverse(), camera.K.double(), camera.hw, lens=lens)
            return _splat(*project(seen, self.lidar.read()), camera.hw)
        if self.depth_path is None or self.lens is not None or camera.lens is not None:
            return torch.zeros(1, *camera.hw)
        depth = read_depth_png(self.depth_path, self.metres_per_unit)
        index = []
        for axis, (size, own) in enumerate(zip(reversed(camera.hw), reversed(depth.shape[-2:]))):
            pixel = (torch.arange(size, dtype=torch.float64) + 0.5 - camera.K[axis, 2]) / camera.K[axis, axis]
            own_K = self.K[axis] * (own / self.hw[1 - axis])
            index.append((pixel * own_K[axis] + own_K[2]).floor().long())
        x, y = index
        inside = ((y >= 0) & (y < depth.shape[-2]))[:, None] & ((x >= 0) & (x < depth.shape[-1]))
        found = depth[0, y.clamp(0, depth.shape[-2] - 1)][:, x.clamp(0, depth.shape[-1] - 1)]
        return torch.where(inside, found, 0.0)[None]


@dataclass(frozen=True)
class PosedImages:
    """A capture.

    Attributes:
        frames: its images.
        stored_from_user: what was done to the user's world before it was stored; all here is in the user's again.
        caption: what it shows, where the capture says so.
    """

    frames: tuple[PosedImage, ...]
    stored_from_user: Similarity = field(default_factory=Similarity.identity)
    caption: str = ""

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.frames)

    @property
    def cameras(self) -> Cameras:
        """All frames as float64 cameras of batch shape [f], with their lenses.

        Raises:
            InputError: the images differ in size.
        """
        sizes = {frame.hw for frame in self.frames}
        if len(sizes) != 1:
            raise InputError(f"posed images of sizes {sorted(sizes)} (height, width); expected one size")
        return Cameras.cat([frame.camera[None] for frame in self.frames])


def size_mismatch(path: str, actual: tuple[int, int], stated: tuple[int, int]) -> str:
    """The message for an image of another size than its capture states."""
    return f"{path}: image of {actual[1]}x{actual[0]} pixels; expected {stated[1]}x{stated[0]} as its file states"


def stated_image(
    root: Path,
    name: Any,
    stated: Mapping[str, Any],
    world_from_camera: Float[torch.Tensor, "4 4"],
    K: Float[torch.Tensor, "3 3"],
    where: str,
    **more: Any,
) -> PosedImage:
    """The image called `name` below `root`, which must have the stated "height" and "width", with `more` of its fields.

    Raises InputError, beginning with `where`, for an image that is missing, elsewhere, or of another size.
    """
    path = inside(root.resolve(), str(name), where)
    if path is None:
        raise InputError(f"{where}: no such image; expected {shown(name)} in {root}")
    hw = image_hw(path, upright=False)
    height, width = (number(stated.get(key), where) for key in ("height", "width"))
    if (height, width) != hw:
        raise InputError(f"{where}: {size_mismatch(str(path), hw, (int(height), int(width)))}")
    return PosedImage(str(name), path, world_from_camera, K, hw, **more)


def _splat(
    uv: Float[torch.Tensor, "n 2"], depth: Float[torch.Tensor, "n"], hw: tuple[int, int]
) -> Float[torch.Tensor, "1 h w"]:
    """Points as a depth map: the nearest point of each pixel, 0 elsewhere."""
    column, row = uv.floor().unbind(-1)
    seen = (depth > 0) & (column >= 0) & (column < hw[1]) & (row >= 0) & (row < hw[0])
    index = (row[seen] * hw[1] + column[seen]).long()
    nearest = torch.full((hw[0] * hw[1],), torch.inf, dtype=depth.dtype)
    nearest = nearest.scatter_reduce(0, index, depth[seen], "amin")
    return torch.where(nearest.isfinite(), nearest, 0.0).float().view(1, *hw)
