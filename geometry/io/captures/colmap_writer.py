"""Writing COLMAP models: the three files that every version of COLMAP reads, binary or as text."""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import LensKind
from geometry.camera.tool_parameters import cameras_to_colmap
from geometry.errors import InputError
from geometry.io.captures.colmap import SIMILARITY, ColmapModel
from geometry.io.captures.colmap_tables import MODELS
from geometry.io.captures.posed import PosedImage, PosedImages, each_camera
from geometry.io.files import exact_line, write_folder
from geometry.shapes import Float, UInt8
from geometry.similarity import Similarity

_NUMBERS = {name: number for number, (name, _) in MODELS.items()}
_Camera = tuple[int, str, tuple[int, int], tuple[float, ...]]


def colmap_model(
    cameras: Cameras | Sequence[Cameras],
    names: Sequence[str],
    points: Float[torch.Tensor, "n 3"] | None = None,
    colors: UInt8[torch.Tensor, "n 3"] | Float[torch.Tensor, "n 3"] | None = None,
    stored_from_user: Similarity | None = None,
) -> ColmapModel:
    """Make a model of cameras with the names of their images, and points without features.

    Args:
        cameras: of batch shape [f], or f of batch shape [] for images of several sizes.
        names: f different names.
        points: n points in the world, metres; none by default.
        colors: sRGB, as floats in 0..1 or as bytes; gray by default.
        stored_from_user: the world that `write_colmap` stores it in.

    Raises:
        InputError: names that are not one for each camera, or colors that are not one for each point.
    """
    each = each_camera(cameras)
    if len(each) != len(names) or len(set(names)) != len(names):
        raise InputError(f"{len(names)} names for {len(each)} cameras in a row; expected one different name for each")
    exact = [one.to(torch.float64).to("cpu") for one in each]
    frames = tuple(
        PosedImage(name, None, one.world_from_camera, one.K, one.hw, one.lens, None, int(one.view), float(one.time_s))
        for name, one in zip(names, exact)
    )
    points = torch.zeros(0, 3, dtype=torch.float64) if points is None else points.double().cpu()
    colors = torch.full((len(points), 3), 128, dtype=torch.uint8) if colors is None else colors.cpu()
    if colors.shape != points.shape:
        raise InputError(f"{tuple(colors.shape)} colors for {tuple(points.shape)} points; expected one each")
    if colors.is_floating_point():
        colors = (colors.nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8)
    none = tuple(torch.zeros(0, 2, dtype=torch.float64) for _ in names)
    images = PosedImages(frames, stored_from_user or Similarity.identity())
    return ColmapModel(images, points, colors, none, tuple(torch.zeros(0).long() for _ in names))


def write_colmap(
    folder: Path | str, model: ColmapModel, binary: bool = True, more: Mapping[str, bytes] = MappingProxyType({})
) -> None:
    """Write a COLMAP model; `read_colmap` gives it back.

    Images that share a view, a lens and a size share a camera; cameras, images and points are numbered from 1. Points
    keep their tracks, and an unknown error (-1). Where the images have a `stored_from_user`, the model is written in
    the stored world, with that beside it as JSON.

    Args:
        folder: new or empty.
        model: what is written.
        binary: or else text.
        more: further files of the folder, by name.

    Raises:
        InputError: the folder is not empty, COLMAP has no model for a lens, or names have line breaks, or spaces in
            text.
    """
    folder = Path(folder)
    frames, places, stored = model.images.frames, model.points, model.images.stored_from_user
    if not stored.is_identity:
        frames, places = tuple(frame.moved(stored) for frame in frames), stored.points(places)
        more = {**more, SIMILARITY: json.dumps(stored.to_json(), indent=1).encode()}
    _check_frames(folder, frames, binary)
    lenses = [_camera(frame) for frame in frames]
    numbers = {lens: n for n, lens in enumerate(dict.fromkeys(lenses), 1)}
    poses = [[t.tolist() for t in cameras_to_colmap(frame.camera)[:2]] for frame in frames]
    tracks: list[list[tuple[int, int]]] = [[] for _ in range(len(places))]
    for image, seen in enumerate(model.observed, 1):
        for feature, point in enumerate(seen.tolist()):
            if point >= 0:
                tracks[point].append((image, feature))
    images = [
        (number, pose, numbers[lens], frame.file_path, uv.tolist(), [p + 1 if p >= 0 else -1 for p in seen.tolist()])
        for number, (frame, pose, lens, uv, seen) in enumerate(
            zip(frames, poses, lenses, model.observed_uv, model.observed), 1
        )
    ]
    points = list(zip(places.tolist(), model.colors.tolist(), tracks))
    files = {**(_binary(numbers, images, points) if binary else _text(numbers, images, points)), **more}
    write_folder(folder, files)


def _check_frames(folder: Path, frames: Sequence[PosedImage], binary: bool) -> None:
    """Raise InputError for cameras and names that the format cannot hold."""
    for frame in frames:
        if not bool(frame.world_from_camera.isfinite().all() and frame.K.isfinite().all()):
            raise InputError(f"{folder}: camera of {frame.file_path[:60]!r} with NaN or Inf; expected finite numbers")
        if "\n" in frame.file_path or "\0" in frame.file_path or not frame.file_path.strip():
            raise InputError(f"{folder}: image {frame.file_path[:60]!r}; expected a name of one line")
        if not binary and len(frame.file_path.split()) > 1:
            raise InputError(f"{folder}: image {frame.file_path[:60]!r}; expected no spaces: COLMAP cuts text there")


_Image = tuple[int, list[list[float]], int, str, list[list[float]], list[int]]
_Point = tuple[list[float], list[int], list[tuple[int, int]]]


def _camera(frame: PosedImage) -> _Camera:
    """View, model, size and parameters of an image's camera."""
    K = frame.K.tolist()
    if K[0][1] != 0:
        raise InputError(f"{frame.file_path}: skewed pixels; expected K[0, 1] = 0, which is all COLMAP can hold")
    base = (K[0][0], K[1][1], K[0][2], K[1][2])
    kind = LensKind.PINHOLE if frame.lens is None else LensKind(int(frame.lens.kind))
    k = [0.0] * 8 if frame.lens is None else frame.lens.coefficients.tolist()
    if kind == LensKind.PINHOLE:
        return frame.view, "PINHOLE", frame.hw, base
    if kind == LensKind.FISHEYE:
        return frame.view, "OPENCV_FISHEYE", frame.hw, (*base, *k[:4])
    if kind == LensKind.EQUIRECTANGULAR:
        w, h = base[0] * math.tau, base[1] * math.pi
        if not (math.isclose(base[2], w / 2) and math.isclose(base[3], h / 2)):
            raise InputError(
                f"{frame.file_path}: part of a panorama; expected a whole one, which is all COLMAP can hold"
            )
        return frame.view, "EQUIRECTANGULAR", frame.hw, (w, h)
    if kind != LensKind.OPENCV:
        raise InputError(f"{frame.file_path}: lens {kind.name}; expected PINHOLE, OPENCV, FISHEYE or EQUIRECTANGULAR")
    if any(k[4:]):
        return frame.view, "FULL_OPENCV", frame.hw, (*base, *k)
    return frame.view, "OPENCV", frame.hw, (*base, *k[:4])


def _binary(cameras: dict[_Camera, int], images: list[_Image], points: list[_Point]) -> dict[str, bytes]:
    out = {name: [struct.pack("<Q", len(part))] for name, part in
           (("cameras.bin", cameras), ("images.bin", images), ("points3D.bin", points))}  # fmt: skip
    for (_, model, hw, values), number in cameras.items():
        out["cameras.bin"].append(struct.pack(f"<iiQQ{len(values)}d", number, _NUMBERS[model], hw[1], hw[0], *values))
    for number, (wxyz, translation), camera, name, uv, seen in images:
        head = struct.pack("<i7di", number, *wxyz, *translation, camera) + name.encode() + b"\0"
        features = b"".join(struct.pack("<2dq", u, v, point) for (u, v), point in zip(uv, seen))
        out["images.bin"].append(head + struct.pack("<Q", len(seen)) + features)
    for number, (place, color, track) in enumerate(points, 1):
        ends = b"".join(struct.pack("<ii", *end) for end in track)
        out["points3D.bin"].append(struct.pack("<Q3d3BdQ", number, *place, *color, -1.0, len(track)) + ends)
    return {name: b"".join(parts) for name, parts in out.items()}


def _text(cameras: dict[_Camera, int], images: list[_Image], points: list[_Point]) -> dict[str, bytes]:
    lines = {
        "cameras.txt": ["# id, model, width, height, parameters"],
        "images.txt": [
            "# id, quaternion wxyz and translation of camera_from_world, camera, name; then u, v, point ..."
        ],
        "points3D.txt": ["# id, x, y, z, r, g, b, error, (image, feature) ..."],
    }
    for (_, model, hw, values), number in cameras.items():
        lines["cameras.txt"].append(f"{number} {model} {hw[1]} {hw[0]} {exact_line(values)}")
    for number, (wxyz, translation), camera, name, uv, seen in images:
        lines["images.txt"].append(f"{number} {exact_line([*wxyz, *translation])} {camera} {name}")
        lines["images.txt"].append(" ".join(f"{exact_line(place)} {point}" for place, point in zip(uv, seen)))
    for number, (place, color, track) in enumerate(points, 1):
        ends = " ".join(f"{image} {feature}" for image, feature in track)
        lines["points3D.txt"].append(f"{number} {exact_line(place)} {exact_line(color)} -1 {ends}".rstrip())
    return {name: ("\n".join(part) + "\n").encode() for name, part in lines.items()}
