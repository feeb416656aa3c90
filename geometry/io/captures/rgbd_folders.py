"""RGB-D recordings as folders: TUM's benchmark and Microsoft's 7-Scenes. Neither says what its lens is.

TUM       rgb.txt, depth.txt and groundtruth.txt list times with images, or poses; each image takes the nearest pose
          within 0.02 s, world from camera. Depth is in units of 1 / 5000 m and fits the image.
7-Scenes  frame-000000.color.png with frame-000000.pose.txt, 4x4 world from camera. Its depth is that of another camera,
          beside the one of color, and not read.
"""

from dataclasses import replace
from pathlib import Path

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError, note
from geometry.io.captures.posed import PosedImage, PosedImages, settled
from geometry.io.entries import listed_file, rigid_rows
from geometry.io.files import read_file
from geometry.io.images import image_hw
from geometry.io.trajectories.pose_files import read_tum

_APART_S = 0.02
_KINECT_HW = (480, 640)
_FOCAL = 525.0  # of the Kinect's color camera, by ROS; both benchmarks recommend it
_MAX_BYTES = 50_000_000


def is_tum_rgbd(folder: Path) -> bool:
    """Whether a folder is a recording of TUM's benchmark."""
    return all((folder / name).is_file() for name in ("rgb.txt", "groundtruth.txt"))


def is_seven_scenes(folder: Path) -> bool:
    """Whether a folder is a sequence of 7-Scenes."""
    return folder.is_dir() and next(folder.glob("frame-*.pose.txt"), None) is not None


def read_tum_rgbd(
    folder: Path | str, fov_deg: float | None = None, need_images: bool = True, skip_missing: bool = False
) -> PosedImages:
    """Read a recording of TUM's RGB-D benchmark.

    Args:
        folder: of rgb.txt, groundtruth.txt and, if there is depth, depth.txt.
        fov_deg: field of view over the shorter side in degrees (default: that of a Kinect, for images of 640x480, with
            a note).
        need_images: whether every image must be there.
        skip_missing: leave images out that are missing, and say so in a note.

    Returns:
        The images by time; those without a pose within 0.02 s are left out, with a note.

    Raises:
        InputError: lists are damaged, no image has a pose, images are missing, or their field of view is not known.
    """
    folder = Path(folder)
    times, poses = read_tum(folder / "groundtruth.txt")
    root, depth = folder.resolve(), _list(folder / "depth.txt") if (folder / "depth.txt").is_file() else []
    frames, lost, listed = [], 0, _list(folder / "rgb.txt")
    depth_s = torch.tensor([time_s for time_s, _ in depth], dtype=torch.float64)
    for time_s, name in listed:
        where = f"{folder}: {name[:80]}"
        nearest = int((times - time_s).abs().argmin())
        if abs(float(times[nearest]) - time_s) > _APART_S:
            lost += 1
            continue
        depth_path = None
        if len(depth) and float((depth_s - time_s).abs().min()) <= _APART_S:
            depth_name = depth[int((depth_s - time_s).abs().argmin())][1]
            depth_path = listed_file(root, depth_name, where)
            if depth_path is None and (need_images or skip_missing):
                raise InputError(f"{where}: depth {depth_name[:80]}; expected that file in {folder}")
        frames.append(PosedImage(
            name, listed_file(root, name, where), poses[nearest], torch.eye(3).double(), _KINECT_HW, None, depth_path,
            time_s=time_s, metres_per_unit=1 / 5000,
        ))  # fmt: skip
    if not frames:
        raise InputError(f"{folder}: no image of rgb.txt has a pose within {_APART_S} s; expected some")
    if lost:
        note(f"{folder}: {lost} of {len(listed)} images have no pose within {_APART_S} s and are left out")
    return PosedImages(settled(_with_lens(frames, fov_deg, folder), str(folder), root, need_images, skip_missing))


def read_seven_scenes(
    folder: Path | str, fov_deg: float | None = None, need_images: bool = True, skip_missing: bool = False
) -> PosedImages:
    """Read a sequence of 7-Scenes.

    Args:
        folder: of frame-*.pose.txt with frame-*.color.png (or .jpg).
        fov_deg: field of view over the shorter side in degrees (default: that of a Kinect, for images of 640x480, with
            a note).
        need_images: whether every image must be there.
        skip_missing: leave images out that are missing, and say so in a note.

    Returns:
        The images by number; those whose pose is not finite, where tracking was lost, are left out, with a note.

    Raises:
        InputError: poses are damaged, images are missing, or their field of view is not known.
    """
    folder = Path(folder)
    files, found, lost = sorted(folder.glob("frame-*.pose.txt")), [], 0
    if not files:
        raise InputError(f"{folder}: no frame-*.pose.txt; expected a sequence of 7-Scenes")
    for file in files:
        words = read_file(file, "a pose of 7-Scenes", _MAX_BYTES).split()
        try:
            values = [float(word) for word in words]
        except ValueError as error:
            raise InputError(f"{file}: {words[:3]}; expected 16 numbers") from error
        if len(values) != 16:
            raise InputError(f"{file}: {len(values)} numbers; expected 16")
        if not bool(torch.tensor(values).isfinite().all()):
            lost += 1
            continue
        name = file.name.replace(".pose.txt", ".color")
        image = listed_file(folder.resolve(), name, str(file))
        pose = rigid_rows([values[n : n + 4] for n in (0, 4, 8, 12)], str(file))
        name = image.name if image is not None else f"{name}.png"
        found.append(PosedImage(name, image, pose, torch.eye(3).double(), _KINECT_HW))
    if not found:
        raise InputError(f"{folder}: no finite pose; expected some")
    if lost:
        note(f"{folder}: {lost} of {len(files)} images have no finite pose and are left out")
    if any(folder.glob("frame-*.depth.png")):
        note(f"{folder}: its depth is of another camera than its color, and not read")
    return PosedImages(settled(_with_lens(found, fov_deg, folder), str(folder), folder, need_images, skip_missing))


def _with_lens(frames: list[PosedImage], fov_deg: float | None, folder: Path) -> list[PosedImage]:
    """The frames with the size of their images, which must be one, and K: of the field of view, else the Kinect's."""
    sizes = sorted({image_hw(frame.path, upright=False) for frame in frames if frame.path is not None}) or [_KINECT_HW]
    if sizes[1:]:
        raise InputError(f"{folder}: images of sizes {sizes} (height, width); expected one")
    hw = sizes[0]
    if fov_deg is None and hw != _KINECT_HW:
        raise InputError(f"{folder}: images of {hw[1]}x{hw[0]} without a lens; expected `fov_deg=`")
    if fov_deg is None:
        note(f"{folder}: the lens is not stated; a Kinect's is assumed ({_FOCAL:g} pixels)")
        K = torch.tensor([[_FOCAL, 0, 320], [0, _FOCAL, 240], [0, 0, 1]], dtype=torch.float64)
    else:
        K = Cameras.from_fov(torch.eye(4).double()[None], fov_deg, hw).K[0]
    return [replace(frame, K=K, hw=hw) for frame in frames]


def _list(path: Path) -> list[tuple[float, str]]:
    """Lines of a time and a name; comments are left out."""
    found = []
    for n, line in enumerate(read_file(path, "a list of TUM", _MAX_BYTES).decode("utf-8", "replace").splitlines(), 1):
        words = line.split(maxsplit=1)
        if not words or line.startswith("#"):
            continue
        try:
            found.append((float(words[0]), words[1].strip()))
        except (ValueError, IndexError) as error:
            raise InputError(f"{path}, line {n}: {line[:40]!r}; expected a time and a name") from error
    return found
