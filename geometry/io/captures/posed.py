"""`PosedImage`: what every reader of captures returns, whatever its file format."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens
from geometry.camera.projection import project
from geometry.errors import InputError, note
from geometry.image.resampling import resample, undistort
from geometry.image.warping import fill_nearest
from geometry.io.captures.lidar import Lidar
from geometry.io.entries import listed_file, number
from geometry.io.images import image_hw, read_depth_png, read_image, shrunk_hw
from geometry.shapes import Bool, Float
from geometry.similarity import Similarity
from geometry.trajectory.checks import float32_holds
from geometry.values import as_value


@as_value
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
        depth_path: its depth as a 16-bit PNG in `metres_per_unit`; None where it has none.
        view: which physical camera; 0 where the file does not say.
        time_s: when, seconds; 0 where the file does not say.
        metres_per_unit: of the depth PNG.
        video_s: where in the video `path` the frame is, seconds; None for an image of its own.
        lidar: a LiDAR sweep taken with it.
        stored_hw: height and width of the file, where `read` shrinks it (`shrunk`).
        mask_path: an image of the same proportions that is black where the image shows nothing of the scene, as
            nerfstudio's and COLMAP's masks are; None where all of it does.
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
    mask_path: Path | None = None
    stored_hw: tuple[int, int] | None = None

    @property
    def camera(self) -> Cameras:
        """The camera with its lens, float64, of batch shape []."""
        view, time_s = torch.tensor(self.view), torch.tensor(self.time_s, dtype=torch.float64)
        return Cameras(self.world_from_camera, self.K, self.hw, view, time_s, self.lens)

    def moved(self, new_from_old: Similarity) -> "PosedImage":
        """The same image in another world."""
        return replace(self, world_from_camera=new_from_old.apply(self.camera[None]).world_from_camera[0])

    def shrunk(self, shorter_side: int) -> "PosedImage":
        """The same image for those who need fewer pixels: `read` shrinks it as `read_image` does with `shorter_side`.

        Frames of videos stay as they are.
        """
        hw = shrunk_hw(self.hw, shorter_side)
        if hw is None or self.video_s is not None or self.stored_hw is not None:
            return self
        return replace(self, K=self.camera.resized(hw).K, hw=hw, stored_hw=self.hw)

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
        if self.stored_hw is not None:
            if (found := image_hw(self.path, upright=False)) != self.stored_hw:
                raise InputError(size_mismatch(str(self.path), found, self.stored_hw))
            return self.checked(read_image(self.path, upright=False, shorter_side=min(self.hw)))
        return self.checked(read_image(self.path, upright=False))

    def checked(self, rgb: Float[torch.Tensor, "3 h w"]) -> Float[torch.Tensor, "3 h w"]:
        """`rgb` itself.

        Raises:
            InputError: it has another size than `hw`.
        """
        if tuple(rgb.shape[-2:]) != self.hw:
            raise InputError(size_mismatch(str(self.path), (rgb.shape[-2], rgb.shape[-1]), self.hw))
        return rgb

    def read_mask(self) -> Bool[torch.Tensor, "1 h w"] | None:
        """Where the image shows the scene, as its mask says; None without one.

        Raises:
            InputError: the mask is unreadable, of other proportions than the image, or black all over.
        """
        if self.mask_path is None:
            return None
        white = read_image(self.mask_path, upright=False).amax(0, keepdim=True) > 0
        size = (white.shape[-2], white.shape[-1])
        if not same_proportions(size, self.hw):
            raise InputError(size_mismatch(str(self.mask_path), size, self.hw))
        if not bool(white.any()):
            raise InputError(f"{self.mask_path}: mask without white; expected some of the image to be known")
        rows, columns = (((torch.arange(n) + 0.5) * (own / n)).long() for n, own in zip(self.hw, size))
        return white[:, rows][:, :, columns]

    def flattened(
        self, rgb: Float[torch.Tensor, "3 h w"]
    ) -> tuple[Float[torch.Tensor, "3 h w"], Cameras, Bool[torch.Tensor, "1 h w"]]:
        """The image that a pinhole camera would have taken, that camera (float32), and what is known of it.

        Pixels that the lens did not show, or that the mask leaves out, are filled from their nearest neighbors.

        Args:
            rgb: what `read` returned.

        Raises:
            InputError: as `read_mask` raises it.
        """
        flat, pinhole, known = undistort(rgb, self.camera)
        if (mask := self._flat_mask()) is not None:
            known = known & mask
        return fill_nearest(flat, known), pinhole.to(torch.float32), known

    def read_depth(self, camera: Cameras) -> Float[torch.Tensor, "1 h w"]:
        """Depth as another camera in the same place sees it.

        A depth map is looked up (nearest pixel), a LiDAR sweep projected (nearest point). Depth maps do not go with
        lenses: where the image or the camera has one, they count as unknown. What a mask leaves out is unknown too.

        Args:
            camera: of batch shape [], with the pose of the image and any window and size.

        Returns:
            z in metres, 0 = unknown, inf = sky.
        """
        if self.lidar is not None:
            lens = None if camera.lens is None else camera.lens.to(torch.float64)
            seen = Cameras(self.lidar.camera_from_lidar.inverse(), camera.K.double(), camera.hw, lens=lens)
            return self._unmasked(_splat(*project(seen, self.lidar.read()), camera.hw), camera)
        if self.depth_path is None or self.lens is not None or camera.lens is not None:
            return torch.zeros(1, *camera.hw)
        depth = read_depth_png(self.depth_path, self.metres_per_unit)
        return self._unmasked(self._looked_up(depth, camera), camera)

    def _unmasked(self, depth: Float[torch.Tensor, "1 h w"], camera: Cameras) -> Float[torch.Tensor, "1 h w"]:
        if (mask := self._flat_mask()) is None or camera.lens is not None:
            return depth
        return torch.where(self._looked_up(mask.float(), camera) > 0, depth, 0.0)

    def _flat_mask(self) -> Bool[torch.Tensor, "1 h w"] | None:
        """`read_mask` as a pinhole camera would have seen it."""
        if (mask := self.read_mask()) is None or self.lens is None:
            return mask
        return resample(mask.float(), self.camera, self.camera.pinholes())[0] > 0.999  # whole pixels of the scene

    def _looked_up(self, values: Float[torch.Tensor, "1 h w"], camera: Cameras) -> Float[torch.Tensor, "1 h2 w2"]:
        """The nearest pixels to those of a pinhole camera in the same place; 0 outside."""
        index = []
        for axis, (size, own) in enumerate(zip(reversed(camera.hw), reversed(values.shape[-2:]))):
            pixel = (torch.arange(size, dtype=torch.float64) + 0.5 - camera.K[axis, 2]) / camera.K[axis, axis]
            own_K = self.K[axis] * (own / self.hw[1 - axis])
            index.append((pixel * own_K[axis] + own_K[2]).floor().long())
        x, y = index
        inside = ((y >= 0) & (y < values.shape[-2]))[:, None] & ((x >= 0) & (x < values.shape[-1]))
        found = values[0, y.clamp(0, values.shape[-2] - 1)][:, x.clamp(0, values.shape[-1] - 1)]
        return torch.where(inside, found, 0.0)[None]


@as_value
@dataclass(frozen=True)
class PosedImages:
    """A capture.

    Attributes:
        frames: its images.
        stored_from_user: what was done to the user's world before it was stored; all here is in the user's again.
        caption: what it shows, where the capture says so.
        points_path: a PLY of its points, in the stored world; None where the capture names none.
    """

    frames: tuple[PosedImage, ...]
    stored_from_user: Similarity = field(default_factory=Similarity.identity)
    caption: str = ""
    points_path: Path | None = None

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.frames)

    def __iter__(self) -> Iterator[PosedImage]:
        """The frames in order."""
        return iter(self.frames)

    def __getitem__(self, index: int) -> PosedImage:
        """One of the frames."""
        return self.frames[index]

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

    def by_size(self) -> list[Cameras]:
        """The cameras of each size of images, in the order in which the sizes come first."""
        sizes = dict.fromkeys(frame.hw for frame in self.frames)
        return [Cameras.cat([f.camera[None] for f in self.frames if f.hw == size]) for size in sizes]


def near_origin(frames: Sequence[PosedImage]) -> tuple[list[PosedImage], Similarity]:
    """Images as float32 can hold their cameras, and what was done to their world: nothing where it holds them as they
    are (`geometry.trajectory.float32_holds`), else it is moved so that the first camera is at the origin."""
    centers = torch.stack([frame.world_from_camera[:3, 3] for frame in frames])
    if float32_holds(centers):
        return list(frames), Similarity.identity()
    moved = replace(Similarity.identity(), translation=-centers[0])
    return [frame.moved(moved) for frame in frames], moved


def each_camera(cameras: Cameras | Sequence[Cameras]) -> list[Cameras]:
    """Each camera, of batch shape []; none where a batch has not exactly one axis."""
    if not isinstance(cameras, Cameras):
        return list(cameras)
    return [cameras[n] for n in range(len(cameras))] if len(cameras.shape) == 1 else []


def size_mismatch(path: str, actual: tuple[int, int], stated: tuple[int, int]) -> str:
    """The message for an image of another size than its capture states."""
    return f"{path}: image of {actual[1]}x{actual[0]} pixels; expected {stated[1]}x{stated[0]} as its file states"


def same_proportions(actual: tuple[int, int], stated: tuple[int, int]) -> bool:
    """Whether an image may be another one resized: sides in the same ratio, but for rounding to whole pixels."""
    alike = [own == other for own, other in zip(actual, stated)]
    return alike[0] == alike[1] and abs(actual[0] * stated[1] - actual[1] * stated[0]) <= max(*stated)


def require_images(names: Sequence[str], total: int, where: str, root: Path | None, skip_missing: bool) -> None:
    """Deal with the images, by name, that a capture of `total` lists and that are not there.

    Raises InputError, or with `skip_missing` says in a note that they are left out.
    """
    if not names:
        return
    some = ", ".join(name[:80] for name in names[:3]) + (", ..." if names[3:] else "")
    if not skip_missing:
        raise InputError(
            f"{where}: no such image: {some} ({len(names)} of {total}); expected them in {root}, or "
            "`skip_missing=` to leave them out"
        )
    if len(names) == total:
        raise InputError(f"{where}: none of the {total} images is in {root}; expected at least one")
    note(f"{where}: {len(names)} of {total} images are missing and left out: {some}")


def fit_sizes(frames: Sequence[PosedImage], where: str) -> tuple[PosedImage, ...]:
    """The frames with their cameras resized to images that are resized copies of what the capture states (`images_2`).

    Raises InputError for an image whose proportions are others.
    """
    fitted = []
    for frame in frames:
        if frame.path is not None and frame.video_s is None:
            actual = image_hw(frame.path, upright=False)
            if actual != frame.hw and not same_proportions(actual, frame.hw):
                raise InputError(size_mismatch(str(frame.path), actual, frame.hw))
            frame = frame if actual == frame.hw else replace(frame, K=frame.camera.resized(actual).K, hw=actual)
        fitted.append(frame)
    if resized := [(old, new) for old, new in zip(frames, fitted) if old is not new]:
        (h, w), (new_h, new_w) = resized[0][0].hw, resized[0][1].hw
        note(f"{where}: {len(resized)} cameras resized to their images, such as {w}x{h} to {new_w}x{new_h} pixels")
    return tuple(fitted)


def stated_image(
    root: Path,
    name: Any,
    stated: Mapping[str, Any],
    world_from_camera: Float[torch.Tensor, "4 4"],
    K: Float[torch.Tensor, "3 3"],
    where: str,
    **more: Any,
) -> PosedImage:
    """The image called `name` below `root`, of the stated "height" and "width", with `more` of its fields.

    Raises InputError, beginning with `where`, for a size that is not one; `require_images` and `fit_sizes` come after.
    """
    path = listed_file(root.resolve(), str(name), where)
    hw = whole_size([stated.get(key) for key in ("height", "width")], where)
    return PosedImage(str(name), path, world_from_camera, K, hw, **more)


def named_lidar(root: Path, name: Any, where: str, lost: list[str]) -> Path | None:
    """The sweep that a capture calls `name`, below `root`; a missing one joins `lost`, for `note_lost`."""
    found = listed_file(root.resolve(), name, where) if isinstance(name, str) else None
    if found is None:
        lost.append(str(name))
    return found


def note_lost(lost: Sequence[str], where: str) -> None:
    """Say which LiDAR sweeps are missing, so that their images have no depth."""
    if lost:
        note(f"{where}: {len(lost)} LiDAR sweeps are missing, such as {lost[0][:80]}; their images have no depth")


def whole_size(sides: Sequence[Any], where: str) -> tuple[int, int]:
    """Height and width in whole pixels. Raises InputError, beginning with `where`, otherwise."""
    h, w = (number(side, f"{where}: image size") for side in sides)
    if not (h >= 1 and w >= 1 and h == int(h) and w == int(w) and max(h, w) <= 2**20):
        raise InputError(f"{where}: image size {w:g}x{h:g}; expected whole numbers of pixels")
    return int(h), int(w)


def settled(
    frames: Sequence[PosedImage], where: str, root: Path | None, need_images: bool = True, skip_missing: bool = False
) -> tuple[PosedImage, ...]:
    """The frames of a capture whose images are there, in the images' sizes; with neither flag also the others.

    Raises InputError as `require_images` and `fit_sizes` do.
    """
    if need_images or skip_missing:
        missing = [frame.file_path for frame in frames if frame.path is None]
        require_images(missing, len(frames), where, root, skip_missing)
        frames = [frame for frame in frames if frame.path is not None]
    return fit_sizes(frames, where) if need_images or skip_missing else tuple(frames)


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
