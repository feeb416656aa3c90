"""Rigs in COLMAP models (version 4 and later): the files of rigs and frames beside the three older ones.

COLMAP's rig has the axes of its reference camera, so a rig comes back with those of its first camera.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.rigs import Rig, RigCamera
from geometry.camera.tool_parameters import cameras_to_colmap
from geometry.errors import InputError
from geometry.io.captures.colmap import pose_of, read_colmap, similarity_of
from geometry.io.captures.colmap_tables import ByteReader, ImageRow, read_table, read_tables, require_suffix, text_rows
from geometry.io.captures.colmap_writer import colmap_model, write_colmap
from geometry.io.files import exact_line
from geometry.rotation.transforms import invert_rigid
from geometry.shapes import Float, UInt8
from geometry.similarity import Similarity
from geometry.values import as_value

_KINDS = {"CAMERA": 0, "IMU": 1, "INVALID": -1}
_CAMERA = _KINDS["CAMERA"]
_Sensor = tuple[int, int]  # kind and number
_Frame = tuple[int, list[float], list[tuple[_Sensor, int]]]  # rig, rig_from_world, and images by sensor


@as_value
@dataclass(frozen=True)
class ColmapRig:
    """A rig and its path.

    Attributes:
        rig: its cameras, named by the folder of their images, or by number where folders do not tell them apart.
        world_from_rig: [f, 4, 4] float64, in the order of COLMAP's frames.
        images: f tuples: the name of each camera's image at that time, None where it took none.
    """

    rig: Rig
    world_from_rig: Float[torch.Tensor, "f 4 4"]
    images: tuple[tuple[str | None, ...], ...]

    def cameras(self) -> Cameras:
        """The cameras [f * c] of all frames, whether they took an image or not, of one size; `time_s` counts frames."""
        return self.rig.cameras(self.world_from_rig, torch.arange(len(self.world_from_rig)).double())


def read_colmap_rigs(folder: Path | str) -> tuple[ColmapRig, ...]:
    """Read the rigs of a COLMAP model (version 4 and later).

    Args:
        folder: of the model's files.

    Returns:
        The rigs in the order of their ids; a camera on its own is a rig of one.

    Raises:
        InputError: as `read_colmap` raises it, a model without rigs, a rig whose reference sensor is not a camera, or
            cameras with images but without a pose in their rig.
    """
    folder = Path(folder)
    suffix = require_suffix(folder)
    paths = {part: folder / f"{part}{suffix}" for part in ("rigs", "frames")}
    if not all(path.is_file() for path in paths.values()):
        raise InputError(f"{folder}: no {paths['rigs'].name} and {paths['frames'].name}; expected a model with rigs")
    readers = (_binary_rigs, _binary_frames) if suffix == ".bin" else (_text_rigs, _text_frames)
    rigs, frames = (read_table(*given) for given in zip(readers, paths.values()))
    images = read_tables(folder).images
    posed = {frame.file_path: frame for frame in read_colmap(folder, need_images=False).images.frames}
    stored, found = similarity_of(folder), []
    for number in sorted(rigs):
        mine = [frames[n] for n in sorted(frames) if frames[n][0] == number]
        taken = [_taken(frame, images, f"{paths['frames']}: a frame of rig {number}") for frame in mine]
        used = {camera for names in taken for camera in names}
        where = f"{paths['rigs']}: rig {number}"
        places = {camera: pose for camera, pose in _places(rigs[number], where).items() if camera in used}
        if missing := used - set(places):
            raise InputError(f"{where}: camera {min(missing)} has images but no pose; expected one")
        if not places:
            continue
        names = _names(places, taken)
        shown = {camera: posed[name] for names in taken for camera, name in names.items()}
        for pose in places.values():
            pose[:3, 3] /= 1 if stored is None else stored.scale
        rig = Rig(tuple(
            RigCamera(names[c], invert_rigid(pose), shown[c].K, shown[c].hw, shown[c].lens)
            for c, pose in places.items()
        ))  # fmt: skip
        poses = torch.stack(
            [invert_rigid(pose_of(frame[1], f"{paths['frames']}: a frame of rig {number}")) for frame in mine]
        )
        poses = poses if stored is None else _moved(stored.inverse(), poses)
        found.append(ColmapRig(rig, poses, tuple(tuple(row.get(c) for c in places) for row in taken)))
    return tuple(found)


def write_colmap_rig(
    folder: Path | str,
    rig: Rig,
    world_from_rig: Float[torch.Tensor, "f 4 4"],
    images: Sequence[Sequence[str]] | None = None,
    points: Float[torch.Tensor, "n 3"] | None = None,
    colors: UInt8[torch.Tensor, "n 3"] | Float[torch.Tensor, "n 3"] | None = None,
    binary: bool = True,
    stored_from_user: Similarity | None = None,
) -> None:
    """Write a rig with its path as a COLMAP model, with rigs and frames.

    Args:
        folder: new or empty.
        rig: c cameras.
        world_from_rig: f poses of the rig.
        images: f rows of c names; by default name of the camera/000000.png and so on.
        points: of the model, if any; metres.
        colors: of the points, sRGB, as floats in 0..1 or as bytes; gray by default.
        binary: or else text.
        stored_from_user: the world to store all in, lengths of the rig included; readers undo it.

    Raises:
        InputError: as `write_colmap` raises it, and cameras with a time offset or of several sizes.
    """
    folder = Path(folder)
    late = [member.name for member in rig.members if member.time_offset_s]
    if late:
        raise InputError(f"{folder}: camera {late[0]!r} with a time offset; expected cameras that see at the same time")
    frames, count = len(world_from_rig), len(rig.members)
    if images is None:
        images = [[f"{member.name}/{n:06d}.png" for member in rig.members] for n in range(frames)]
    if len(images) != frames or any(len(row) != count for row in images):
        raise InputError(f"{folder}: {len(images)} rows of names; expected {frames} of {count} names")
    if not bool(world_from_rig.isfinite().all()):
        raise InputError(f"{folder}: poses with NaN or Inf; expected finite numbers")
    path = world_from_rig.double().cpu()
    cameras = rig.cameras(path, torch.arange(frames).double())
    order = torch.arange(frames * count).view(frames, count).T.flatten()  # one camera's images after another's
    names = [images[int(n) // count][int(n) % count] for n in order]
    first = rig.members[0].rig_from_camera.double().cpu()
    turned = torch.stack([first.inverse() @ member.rig_from_camera.double().cpu() for member in rig.members])
    stored = path @ first
    if stored_from_user is not None:
        turned[:, :3, 3] *= stored_from_user.scale.to(turned)
        stored = _moved(stored_from_user, stored)
    sensors = [_seven(pose, member) for pose, member in zip(turned[1:], rig.members[1:])]
    moments = [_seven(pose, rig.members[0]) for pose in stored]
    more = _binary(sensors, moments) if binary else _text(sensors, moments)
    model = colmap_model(cameras[order], names, points, colors, stored_from_user)
    write_colmap(folder, model, binary, more)


def _moved(similarity: Similarity, poses: Float[torch.Tensor, "f 4 4"]) -> Float[torch.Tensor, "f 4 4"]:
    plain = Cameras(poses, torch.eye(3, dtype=poses.dtype).expand(len(poses), 3, 3), (1, 1))
    return similarity.apply(plain).world_from_camera


def _seven(pose: Float[torch.Tensor, "4 4"], member: RigCamera) -> list[float]:
    """The seven numbers of a pose's inverse in COLMAP: quaternion wxyz and translation."""
    wxyz, translation = cameras_to_colmap(Cameras(pose, member.K.double().cpu(), member.hw))[:2]
    return [*wxyz.tolist(), *translation.tolist()]


def _binary(sensors: list[list[float]], moments: list[list[float]]) -> dict[str, bytes]:
    count = len(sensors) + 1
    rigs = struct.pack("<QIIiI", 1, 1, count, _CAMERA, 1)
    rigs += b"".join(struct.pack("<iIB7d", _CAMERA, n, 1, *pose) for n, pose in enumerate(sensors, 2))
    frames = struct.pack("<Q", len(moments))
    for n, pose in enumerate(moments):
        frames += struct.pack("<II7dI", n + 1, 1, *pose, count)
        frames += b"".join(struct.pack("<iIQ", _CAMERA, c + 1, c * len(moments) + n + 1) for c in range(count))
    return {"rigs.bin": rigs, "frames.bin": frames}


def _text(sensors: list[list[float]], moments: list[list[float]]) -> dict[str, bytes]:
    count = len(sensors) + 1
    rigs = ["# id, sensors, first sensor, then sensor, whether posed, quaternion wxyz, translation of sensor_from_rig"]
    rigs.append(f"1 {count} CAMERA 1" + "".join(f" CAMERA {n} 1 {exact_line(p)}" for n, p in enumerate(sensors, 2)))
    frames = ["# id, rig, quaternion wxyz and translation of rig_from_world, pictures, then sensor and image of each"]
    for n, pose in enumerate(moments):
        taken = " ".join(f"CAMERA {c + 1} {c * len(moments) + n + 1}" for c in range(count))
        frames.append(f"{n + 1} 1 {exact_line(pose)} {count} {taken}")
    return {"rigs.txt": ("\n".join(rigs) + "\n").encode(), "frames.txt": ("\n".join(frames) + "\n").encode()}


def _taken(frame: _Frame, images: dict[int, ImageRow], where: str) -> dict[int, str]:
    """The names of a frame's images by camera."""
    names = {}
    for (kind, camera), image in frame[2]:
        if kind != _CAMERA:
            continue
        if image not in images or images[image].camera != camera:
            raise InputError(f"{where}: image {image} of camera {camera}; expected one of the model's")
        names[camera] = images[image].name
    return names


def _places(rig: list[tuple[_Sensor, list[float] | None]], where: str) -> dict[int, torch.Tensor]:
    """camera_from_rig by camera, the reference camera first."""
    if not rig or rig[0][0][0] != _CAMERA:
        raise InputError(f"{where} has another reference sensor or none; expected a camera")
    places = {rig[0][0][1]: torch.eye(4, dtype=torch.float64)}
    for (kind, camera), pose in rig[1:]:
        if kind == _CAMERA and pose is not None:
            places[camera] = pose_of(pose, where)
    return places


def _names(places: dict[int, torch.Tensor], taken: list[dict[int, str]]) -> dict[int, str]:
    folders = {c: {str(PurePosixPath(row[c]).parent) for row in taken if c in row} for c in places}
    distinct = [next(iter(some)) for some in folders.values() if len(some) == 1]
    if len(set(distinct)) == len(places):
        return dict(zip(places, distinct))
    return {camera: f"camera {camera}" for camera in places}


def _binary_rigs(data: bytes) -> dict[int, list[tuple[_Sensor, list[float] | None]]]:
    source, rigs = ByteReader(data), {}
    for _ in range(source.take("Q")[0]):
        number, count = source.take("II")
        rigs[number] = [(source.take("iI"), None)] if count else []
        for _ in range(count - 1):
            sensor, posed = source.take("iI"), source.take("B")[0]
            rigs[number].append((sensor, list(source.take("7d")) if posed else None))
    return rigs


def _binary_frames(data: bytes) -> dict[int, _Frame]:
    source, frames = ByteReader(data), {}
    for _ in range(source.take("Q")[0]):
        number, rig, *pose, count = source.take("II7dI")
        frames[number] = (rig, pose, [(source.take("iI"), source.take("Q")[0]) for _ in range(count)])
    return frames


def _text_rigs(data: bytes) -> dict[int, list[tuple[_Sensor, list[float] | None]]]:
    rigs = {}
    for row in text_rows(data):
        sensors: list[tuple[_Sensor, list[float] | None]] = [(_sensor(row[2:4]), None)] if int(row[1]) else []
        at = 4
        for _ in range(int(row[1]) - 1):
            posed = int(row[at + 2]) != 0
            values = [float(value) for value in row[at + 3 : at + 10]] if posed else None
            if values is not None and len(values) != 7:
                raise IndexError
            sensors.append((_sensor(row[at : at + 2]), values))
            at += 10 if posed else 3
        rigs[int(row[0])] = sensors
    return rigs


def _text_frames(data: bytes) -> dict[int, _Frame]:
    frames = {}
    for row in text_rows(data):
        taken = [(_sensor(row[at : at + 2]), int(row[at + 2])) for at in range(10, 10 + 3 * int(row[9]), 3)]
        frames[int(row[0])] = (int(row[1]), [float(value) for value in row[2:9]], taken)
    return frames


def _sensor(words: list[str]) -> _Sensor:
    if words[0] not in _KINDS:
        raise InputError(f"sensor {words[0][:20]!r}; expected one of {', '.join(_KINDS)}")
    return _KINDS[words[0]], int(words[1])
