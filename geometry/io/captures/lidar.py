"""LiDAR sweeps that belong to images of captures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from geometry.errors import InputError
from geometry.io.files import check_file
from geometry.rotation.transforms import invert_rigid
from geometry.shapes import Float
from geometry.values import as_value


@as_value
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


@as_value
@dataclass(frozen=True)
class Sweep:
    """A LiDAR file with its pose in the world; `path` and `columns` as of `Lidar`."""

    path: Path
    columns: int
    world_from_lidar: Float[torch.Tensor, "4 4"]

    def seen_from(self, world_from_camera: Float[torch.Tensor, "4 4"]) -> Lidar:
        """The sweep for an image of that pose."""
        return Lidar(self.path, invert_rigid(world_from_camera) @ self.world_from_lidar, self.columns)
