"""THE table of file formats: what a file holds, and how it is recognized, read and written.

Whatever chooses by a file's name or content asks this table: `worldgen cameras show` and `convert`, captures, and the
texts that list formats. A new format is one module with its functions and one row here, or from outside

    FORMATS["xyz"] = Format("xyz", ("cameras",), "poses (.xyz)", (".xyz",), reader=read_xyz, writer=write_xyz)

where `read_xyz(path)` returns what the format holds and `write_xyz(path, value)` takes it. Libraries of formats are
loaded by their readers and writers, never by this table.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.io.assets.gltf import write_glb
from geometry.io.assets.gltf_reader import read_glb
from geometry.io.assets.obj import read_obj, write_obj
from geometry.io.assets.ply import read_ply, write_ply
from geometry.io.assets.point_sequence import read_point_sequence, write_point_sequence
from geometry.io.assets.splats import read_splats, write_splats
from geometry.io.assets.usd import SUFFIXES as USD_SUFFIXES
from geometry.io.assets.usd import write_usd
from geometry.io.captures.co3d import co3d_captures, is_co3d, read_co3d
from geometry.io.captures.colmap import is_colmap_capture, read_colmap_images
from geometry.io.captures.colmap_rigs import ColmapRig, read_colmap_rigs, write_colmap_rig
from geometry.io.captures.colmap_writer import colmap_model, write_colmap
from geometry.io.captures.ddad import is_ddad, read_ddad
from geometry.io.captures.llff import is_llff, read_llff
from geometry.io.captures.metashape import is_metashape, read_metashape
from geometry.io.captures.nerfstudio import is_transforms, read_transforms, write_transforms
from geometry.io.captures.nuscenes import is_nuscenes, is_nuscenes_frame, nuscenes_captures, read_nuscenes_frame
from geometry.io.captures.opensfm import is_opensfm, read_opensfm
from geometry.io.captures.phones import is_polycam, is_record3d, read_polycam, read_record3d
from geometry.io.captures.posed import PosedImages
from geometry.io.captures.realestate10k import (
    is_realestate10k,
    read_realestate10k,
    realestate10k_captures,
    write_realestate10k,
)
from geometry.io.captures.rgbd_folders import is_seven_scenes, is_tum_rgbd, read_seven_scenes, read_tum_rgbd
from geometry.io.exr import read_exr, write_exr
from geometry.io.files import exists
from geometry.io.images import SUFFIXES as IMAGE_SUFFIXES
from geometry.io.images import read_depth_png, read_image, write_depth_png, write_png
from geometry.io.trajectories.camera_script import read_camera_script
from geometry.io.trajectories.pose_files import (
    is_kitti,
    is_tum,
    read_cameras_json,
    read_kitti_cameras,
    read_tum_cameras,
    write_cameras_json,
    write_kitti,
    write_tum,
)
from geometry.io.video import read_mp4, write_mp4

Kind = Literal[
    "cameras", "posed images", "rig", "image", "depth", "video", "points", "mesh", "textured mesh", "gaussians",
    "point sequence",
]  # fmt: skip
CaptureReader = Callable[..., PosedImages]


@dataclass(frozen=True)
class Format:
    """A row of the table.

    name        of the format
    holds       what its reader returns and its writer takes: one of `Kind`, or several
    help        what texts that list formats call it
    suffixes    of its files; "" for a folder
    prefix      that the names of its files begin with
    recognizes  whether a file or folder is one, by what it holds; must be quick to say no
    reader      `reader(path)` returns the value; None where the format is only written
    options     keyword arguments the reader also takes, for what the file does not say
    writer      `writer(path, value)`; None where the format is only read
    captures    the labels and readers of all captures in a path; None = one capture, by `reader`, without a label.
                Readers of captures take `skip_missing` where it is among the options
    poses_only  whether files hold poses without intrinsics and size
    takes_images  whether a writer of cameras also takes `PosedImages`, for the names or the sizes of their images
    extra       the extra of this package that it needs
    """

    name: str
    holds: tuple[Kind, ...]
    help: str
    suffixes: tuple[str, ...] = ()
    prefix: str = ""
    recognizes: Callable[[Path], bool] | None = None
    reader: Callable[..., Any] | None = None
    options: tuple[str, ...] = ()
    writer: Callable[[Path, Any], None] | None = None
    captures: Callable[[Path], Iterable[tuple[str, CaptureReader]]] | None = None
    extra: str | None = None
    poses_only: bool = False
    takes_images: bool = False

    def named(self, path: Path) -> bool:
        """Whether the name of `path` is one for files of this format."""
        return path.name.startswith(self.prefix) and path.suffix in self.suffixes

    def recognized(self, path: Path) -> bool:
        """Whether the content of `path` is of this format; by its name where only that can tell."""
        return self.named(path) if self.recognizes is None else self.recognizes(path)


def _write_rig(folder: Path, rig: ColmapRig) -> None:
    images = [[name or "" for name in row] for row in rig.images]  # a missing one is refused as a name
    write_colmap_rig(folder, rig.rig, rig.world_from_rig, images)


def _write_transforms(path: Path, value: Cameras | PosedImages) -> None:
    """Images that are below the file's folder are named from there, so that the file finds them."""
    cameras, names = _with_names(value)
    if isinstance(value, PosedImages):
        root, places = path.parent.resolve(), [None if f.video_s is not None else f.path for f in value.frames]
        names = [
            place.relative_to(root).as_posix() if place is not None and place.is_relative_to(root) else name
            for place, name in zip(places, names)
        ]
    write_transforms(path, cameras, names)


def _write_colmap(folder: Path, value: Cameras | PosedImages) -> None:
    write_colmap(folder, colmap_model(*_with_names(value)))


def _with_names(value: Cameras | PosedImages) -> tuple[Cameras | list[Cameras], list[str]]:
    """Cameras with the names of their images: the images' own, else frames/00000.png and so on."""
    if isinstance(value, PosedImages):
        return [frame.camera for frame in value.frames], [f.file_path.replace("\\", "/") for f in value.frames]
    return value, [f"frames/{n:05d}.png" for n in range(len(value))]


def _cameras(value: Cameras | PosedImages) -> Cameras:
    return value.cameras if isinstance(value, PosedImages) else value


def _poses(value: Cameras | PosedImages) -> tuple[Any, Any]:
    """Times [n] and poses [n, 4, 4], whatever the sizes of images are."""
    each = [value] if isinstance(value, Cameras) else [frame.camera[None] for frame in value.frames]
    return torch.cat([one.time_s for one in each]), torch.cat([one.world_from_camera for one in each])


FORMATS: dict[str, Format] = {
    row.name: row
    for row in (
        Format(
            "transforms.json", ("cameras", "posed images"), "transforms.json", (".json",), prefix="transforms",
            recognizes=is_transforms, reader=read_transforms, options=("need_images", "skip_missing"),
            writer=_write_transforms, takes_images=True,
        ),
        Format(
            "COLMAP", ("cameras", "posed images"), "a COLMAP model's folder", ("",),
            recognizes=is_colmap_capture, reader=read_colmap_images, options=("need_images", "skip_missing"),
            writer=_write_colmap, takes_images=True,
        ),
        Format("COLMAP rigs", ("rig",), "a COLMAP model with rigs", ("",), reader=read_colmap_rigs, writer=_write_rig),
        Format(
            "nuScenes", ("posed images",), "the folder of a nuScenes dataset",
            recognizes=is_nuscenes, captures=nuscenes_captures, options=("skip_missing",),
        ),
        Format(
            "nuScenes frame", ("cameras", "posed images"), "a nuScenes frame (.json)",
            recognizes=is_nuscenes_frame, reader=read_nuscenes_frame, options=("need_images", "skip_missing"),
        ),
        Format(
            "DDAD", ("cameras", "posed images"), "a DDAD scene (.json)",
            recognizes=is_ddad, reader=read_ddad, options=("need_images", "skip_missing"),
        ),
        *(
            Format(
                name, ("cameras", "posed images"), text, recognizes=recognizes, reader=reader,
                options=("need_images", "skip_missing", *more),
            )
            for name, text, recognizes, reader, *more in (
                ("OpenSfM", "OpenSfM's reconstruction.json", is_opensfm, read_opensfm),
                ("Metashape", "Metashape's cameras (.xml)", is_metashape, read_metashape),
                ("Polycam", "the folder of Polycam's raw data", is_polycam, read_polycam),
                ("Record3D", "Record3D's metadata.json", is_record3d, read_record3d),
                ("TUM RGB-D", "the folder of a TUM RGB-D recording", is_tum_rgbd, read_tum_rgbd, "fov_deg"),
                ("7-Scenes", "the folder of a 7-Scenes sequence", is_seven_scenes, read_seven_scenes, "fov_deg"),
            )
        ),
        Format(
            "LLFF", ("cameras", "posed images"), "LLFF's poses_bounds.npy",
            recognizes=is_llff, reader=read_llff, options=("need_images",),
        ),
        Format(
            "CO3D", ("cameras", "posed images"), "CO3D's frame_annotations.jgz",
            recognizes=is_co3d, captures=co3d_captures, reader=read_co3d, options=("need_images", "skip_missing"),
        ),
        Format(
            "camera script", ("cameras",), "a camera script (.yaml)", (".yaml", ".yml"),
            reader=lambda path: read_camera_script(path).cameras(),
        ),
        Format(
            "TUM", ("cameras",), ".tum", (".tum",), recognizes=is_tum, reader=read_tum_cameras,
            options=("fov_deg", "hw"), writer=lambda path, value: write_tum(path, *_poses(value)), poses_only=True,
            takes_images=True,
        ),
        Format(
            "KITTI", ("cameras",), ".kitti", (".kitti",), recognizes=is_kitti, reader=read_kitti_cameras,
            options=("fov_deg", "hw"), writer=lambda path, value: write_kitti(path, _poses(value)[1]),
            poses_only=True, takes_images=True,
        ),
        Format(
            "RealEstate10K", ("cameras", "posed images"), ".re10k or a RealEstate10K text with its video", (".re10k",),
            recognizes=is_realestate10k, captures=realestate10k_captures, reader=read_realestate10k,
            options=("hw", "need_images", "skip_missing"), writer=write_realestate10k,
        ),
        Format(
            "worldgen cameras", ("cameras",), "our own .json", (".json",),
            reader=read_cameras_json, writer=write_cameras_json,
        ),
        Format("PNG", ("image",), ".png", (".png",), reader=read_image, writer=write_png),
        Format("images", ("image",), "JPEG and other images", IMAGE_SUFFIXES, reader=read_image),
        Format(
            "OpenEXR", ("image",), ".exr", (".exr",),
            reader=lambda path: _present(read_exr(path)[0], path, "R, G and B"), writer=write_exr, extra="exr",
        ),
        Format(
            "depth PNG", ("depth",), ".png of 16 bits", (".png",), options=("metres_per_unit",),
            reader=partial(read_depth_png, metres_per_unit=0.001),
            writer=partial(write_depth_png, metres_per_unit=0.001),
        ),
        Format(
            "depth OpenEXR", ("depth",), ".exr", (".exr",),
            reader=lambda path: _present(read_exr(path)[1], path, "Z"),
            writer=lambda path, depth: write_exr(path, None, depth), extra="exr",
        ),
        Format("MP4", ("video",), ".mp4", (".mp4",), reader=read_mp4, writer=partial(write_mp4, fps=24.0)),
        Format(
            "PLY", ("points", "mesh"), ".ply", (".ply",), reader=read_ply, options=("drop_nonfinite",), writer=write_ply
        ),
        Format(
            "GLB", ("points", "mesh", "textured mesh"), ".glb", (".glb",), reader=read_glb, writer=write_glb
        ),
        Format("OBJ", ("mesh", "textured mesh"), ".obj", (".obj",), reader=read_obj, writer=write_obj),
        Format(
            "Gaussian PLY", ("gaussians",), ".ply", (".ply",),
            reader=read_splats, options=("drop_nonfinite",), writer=write_splats,
        ),
        Format("splat", ("gaussians",), ".splat", (".splat",), reader=read_splats, writer=write_splats),
        Format(
            "USD", ("points", "mesh", "textured mesh", "gaussians"), "USD", USD_SUFFIXES,
            writer=lambda path, part: write_usd(path, {"world": part}), extra="usd",
        ),
        Format(
            "point sequence", ("point sequence",), "a folder of point clouds with times", ("",),
            reader=read_point_sequence, writer=write_point_sequence,
        ),
    )
}  # fmt: skip


def listed(kind: Kind, written: bool = False) -> str:
    """The formats of a kind that can be read, or written, as an enumeration for help and errors."""
    rows = (row for row in FORMATS.values() if kind in row.holds)
    names = [row.help for row in rows if (row.writer if written else row.reader or row.captures) is not None]
    return " or ".join([*([", ".join(names[:-1])] if names[1:] else []), *names[-1:]])


def read(path: Path | str, kind: Kind, **options: Any) -> Any:
    """Read a file or folder, in the format that its name, or else its content, says.

    Args:
        path: the file or folder.
        kind: what it is read as.
        **options: what files of some formats do not say: `fov_deg` and `hw` (height, width) of cameras, `need_images`
            and `skip_missing` of posed images, `metres_per_unit` of depth, `drop_nonfinite` of PLY. Each format takes
            those it knows.

    Returns:
        What the format's reader returns: for "cameras" also `PosedImages`, for "points" also a `Mesh`.

    Raises:
        InputError: no format of this kind fits the path, or the file is not what its format asks for.
    """
    path = Path(path)
    exists(path, f"{kind} in a file or folder")
    rows = [row for row in FORMATS.values() if kind in row.holds and row.reader is not None]
    fitting = [row for row in rows if row.recognizes is not None and row.recognizes(path)]
    if not fitting and (path / "transforms.json").is_file():
        return read(path / "transforms.json", kind, **options)
    folder = path.is_dir()
    fitting += [row for row in rows if ("" in row.suffixes if folder else path.suffix and row.named(path))]
    if not fitting or (reader := fitting[0].reader) is None:
        raise InputError(f"{path}: {kind} of an unknown kind; expected {listed(kind)}")
    return reader(path, **{name: value for name, value in options.items() if name in fitting[0].options})


def write(path: Path | str, value: Any, kind: Kind) -> None:
    """Write a value in the format that the path's name says; a name without a suffix is a folder's.

    Args:
        path: the file or folder to write.
        value: what the format's writer takes: `Cameras`, `Mesh`, `PointCloud`, `TexturedMesh`, `Splats`, or a tensor.
        kind: what it is written as.

    Raises:
        InputError: no format of this kind has such a name, or the format cannot hold the value.
    """
    path = Path(path)
    rows = [row for row in FORMATS.values() if kind in row.holds and row.named(path)]
    row = next((row for row in rows if row.writer is not None), None)
    if row is None or row.writer is None:
        raise InputError(f"{path}: {kind} of an unknown kind; expected {listed(kind, written=True)}")
    row.writer(path, _cameras(value) if isinstance(value, PosedImages) and not row.takes_images else value)


def read_cameras(path: Path | str, fov_deg: float | None = None, hw: tuple[int, int] | None = None) -> Cameras:
    """Read the cameras in a file or folder, in the format that its name says; their images need not be there.

    Args:
        path: a file or folder of one of the formats that hold cameras.
        fov_deg: field of view over the shorter side in degrees, for formats that store poses only (default: 50, with a
            note).
        hw: height and width in pixels, which formats that store poses only need.

    Returns:
        Cameras of batch shape [n].

    Raises:
        InputError: the name is of no such format, the file is not what its format asks for or has images of several
            sizes, or the size is needed and not given.
    """
    return _cameras(read(path, "cameras", fov_deg=fov_deg, hw=hw, need_images=False))


def write_cameras(path: Path | str, cameras: Cameras | PosedImages) -> None:
    """Write cameras in the format that the path's name says.

    Args:
        path: a file, or for a COLMAP model a new folder, whose name has no suffix.
        cameras: of batch shape [n], whose images are then called frames/00000.png and so on; or posed images, whose
            names are kept.

    Raises:
        InputError: the name is of no format that cameras are written in, or the format cannot hold them.
    """
    write(path, cameras, "cameras")


def convert_cameras(
    source: Path | str, target: Path | str, fov_deg: float | None = None, hw: tuple[int, int] | None = None
) -> int:
    """Read cameras in one format and write them in another, with the names of their images where both have some.

    Args:
        source, target: as of `read_cameras` and `write_cameras`.
        fov_deg, hw: as of `read_cameras`; not needed where the target stores poses only.

    Returns:
        How many cameras there are.

    Raises:
        InputError: as `read_cameras` and `write_cameras` do.
    """
    rows = [row for row in FORMATS.values() if "cameras" in row.holds and row.writer and row.named(Path(target))]
    if hw is None and rows and rows[0].poses_only:
        fov_deg, hw = fov_deg or 50.0, (2, 2)  # neither is written
    found = read(source, "cameras", fov_deg=fov_deg, hw=hw, need_images=False)
    write(target, found, "cameras")
    return len(found)


def captures_of(path: Path) -> tuple[str, list[tuple[str, CaptureReader]]] | None:
    """The captures that a file or folder is, by its content: the format's name, and their labels and readers, which
    take `skip_missing`.

    Raises:
        InputError: a dataset of several captures cannot be listed.
    """
    for row in FORMATS.values():
        if "posed images" in row.holds and row.recognized(path):
            assert row.reader is not None or row.captures is not None, row.name
            single = [("", partial(row.reader, path))] if row.reader is not None else []
            if found := list(single if row.captures is None else row.captures(path)):
                return row.name, [(label, partial(_read_capture, row, read)) for label, read in found]
    return None


def _read_capture(row: Format, reader: CaptureReader, skip_missing: bool = False) -> PosedImages:
    return reader(**({"skip_missing": skip_missing} if "skip_missing" in row.options else {}))


def _present(values: Any, path: Path, channels: str) -> Any:
    if values is None:
        raise InputError(f"{path}: no such channels; expected {channels}")
    return values
