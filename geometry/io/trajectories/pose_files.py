"""Camera paths in files: TUM's and KITTI's lists of poses, and our own JSON, which keeps everything.

TUM    a line for each pose: time x y z qx qy qz qw, world_from_camera, seconds
KITTI  a line for each pose: the 12 numbers of world_from_camera row by row
JSON   every camera with its pose, intrinsics, lens, size, time and number, in this package's conventions
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.checks import check_rigid
from geometry.camera.conversion import cameras_from
from geometry.camera.lenses import COEFFICIENTS, Lens, LensKind
from geometry.errors import InputError, note
from geometry.io.entries import columns, entry, intrinsics_rows, number, rigid_rows, shown
from geometry.io.files import check_file, exact_line, read_json, write_file, write_json
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix
from geometry.rotation.transforms import rigid
from geometry.shapes import Float
from geometry.similarity import Similarity

FORMAT = "worldgen cameras 1"
_CONVENTION = "world_from_camera in metres, OpenCV axes, world z up; K in pixels with centres at +0.5"
_MAX_BYTES = 1 << 28
_COLUMNS = {8: "TUM", 12: "KITTI", 19: "RealEstate10K"}
_FOV_DEG = 50.0
_NONE = torch.zeros(0, dtype=torch.float64)


def is_tum(path: Path) -> bool:
    """Whether a text file has the columns of TUM's."""
    return path.suffix == ".txt" and columns(path) == 8


def is_kitti(path: Path) -> bool:
    """Whether a text file has the columns of KITTI's."""
    return path.suffix == ".txt" and columns(path) == 12


def read_tum(path: Path | str) -> tuple[Float[torch.Tensor, "n"], Float[torch.Tensor, "n 4 4"]]:
    """Read a TUM trajectory.

    Args:
        path: the file; quaternions are brought to unit length.

    Returns:
        Times [n] in seconds and poses world_from_camera [n, 4, 4], float64.

    Raises:
        InputError: lines that are not eight numbers, quaternions far from unit length, times that run back, or no
            poses; the message names the line.
    """
    path = Path(path)
    times, poses = [], []
    for where, values in _rows(path, 8):
        quaternion = torch.tensor([values[7], *values[4:7]], dtype=torch.float64)
        if not 0.9 < float(quaternion.norm()) < 1.1:
            raise InputError(f"{where}: quaternion of length {float(quaternion.norm()):.3g}; expected 1")
        if times and values[0] < times[-1]:
            raise InputError(f"{where}: time {values[0]:.9g} after {times[-1]:.9g}; expected times that increase")
        times.append(values[0])
        poses.append(rigid(matrix_from_quaternion_wxyz(quaternion), torch.tensor(values[1:4], dtype=torch.float64)))
    return torch.tensor(times, dtype=torch.float64), torch.stack(poses)


def read_tum_cameras(path: Path | str, fov_deg: float | None = None, hw: tuple[int, int] | None = None) -> Cameras:
    """Read a TUM trajectory as cameras.

    Args:
        path: the file.
        fov_deg: field of view over the shorter side in degrees, which the file does not say (default: 50, with a note).
        hw: height and width in pixels, which the file does not say either and which is needed.

    Returns:
        Cameras of batch shape [n], float64.

    Raises:
        InputError: as `read_tum` raises it, and without a size.
    """
    time_s, poses = read_tum(path)
    return replace(_with_lens(Path(path), poses, fov_deg, hw), time_s=time_s)


def write_tum(
    path: Path | str, time_s: Float[torch.Tensor, "n"], world_from_camera: Float[torch.Tensor, "n 4 4"]
) -> None:
    """Write a TUM trajectory; `read_tum` gives it back exactly but for the rounding of quaternions.

    Args:
        path: the file.
        time_s: n times in seconds.
        world_from_camera: n poses.

    Raises:
        InputError: poses that are not rigid.
    """
    path = Path(path)
    check_rigid(world_from_camera, "TUM poses")
    wxyz = quaternion_wxyz_from_matrix(world_from_camera[:, :3, :3].double())
    rows = torch.cat([time_s.double()[:, None], world_from_camera[:, :3, 3].double(), wxyz[:, [1, 2, 3, 0]]], -1)
    head = "# time x y z qx qy qz qw (world_from_camera, OpenCV axes, metres, seconds)\n"
    write_file(path, (head + _lines(rows)).encode())


def read_kitti(path: Path | str) -> Float[torch.Tensor, "n 4 4"]:
    """Read the poses of a KITTI trajectory.

    Args:
        path: the file.

    Returns:
        world_from_camera [n, 4, 4], float64.

    Raises:
        InputError: lines that are not a rigid motion, or no poses; the message names the line.
    """
    path = Path(path)
    poses = [rigid_rows([values[n : n + 4] for n in (0, 4, 8)], where) for where, values in _rows(path, 12)]
    return torch.stack(poses)


def read_kitti_cameras(path: Path | str, fov_deg: float | None = None, hw: tuple[int, int] | None = None) -> Cameras:
    """Read a KITTI trajectory as cameras; `time_s` counts them.

    Args:
        path: the file.
        fov_deg: field of view over the shorter side in degrees, which the file does not say (default: 50, with a note).
        hw: height and width in pixels, which the file does not say either and which is needed.

    Returns:
        Cameras of batch shape [n], float64.

    Raises:
        InputError: as `read_kitti` raises it, and without a size.
    """
    poses = read_kitti(path)
    return replace(_with_lens(Path(path), poses, fov_deg, hw), time_s=torch.arange(len(poses)).double())


def write_kitti(path: Path | str, world_from_camera: Float[torch.Tensor, "n 4 4"]) -> None:
    """Write a KITTI trajectory.

    Args:
        path: the file.
        world_from_camera: n poses.

    Raises:
        InputError: poses that are not rigid.
    """
    path = Path(path)
    check_rigid(world_from_camera, "KITTI poses")
    write_file(path, _lines(world_from_camera[:, :3].double().flatten(1)).encode())


def read_cameras_json(path: Path | str) -> Cameras:
    """Read cameras in our own JSON.

    Args:
        path: a file of `write_cameras_json`.

    Returns:
        Cameras of batch shape [n] in the user's world, float64, exactly what was written.

    Raises:
        InputError: anything else; the message names the place.
    """
    path = Path(path)
    data = read_json(path, "cameras in JSON", _MAX_BYTES)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(f"{path}: another format; expected {FORMAT!r}")
    frames = entry(data, "cameras", list, str(path))
    if not frames:
        raise InputError(f"{path}: no cameras; expected at least one")
    poses, lenses, sizes, views, times, lens = [], [], set(), [], [], []
    for n, frame in enumerate(frames):
        where = f"{path}: camera {n}"
        poses.append(rigid_rows(entry(frame, "world_from_camera", list, where), where))
        lenses.append(_K(entry(frame, "K", list, where), where))
        height, width = (_count(frame.get(key), f"{where}: {key}") for key in ("height", "width"))
        sizes.add((height, width))
        views.append(_count(frame.get("view", 0), f"{where}: view", least=0))
        times.append(number(frame.get("time_s", 0.0), f"{where}: time_s"))
        lens.append(_lens(frame["lens"], f"{where}: lens") if "lens" in frame else Lens.of(LensKind.PINHOLE, _NONE))
    if len(sizes) > 1:
        raise InputError(f"{path}: images of {len(sizes)} sizes; expected one")
    plain = all(int(one.kind) == LensKind.PINHOLE for one in lens)
    cameras = Cameras(
        torch.stack(poses), torch.stack(lenses), sizes.pop(), torch.tensor(views),
        torch.tensor(times, dtype=torch.float64), None if plain else Lens.cat([one.reshape(1) for one in lens]),
    )  # fmt: skip
    if "stored_from_user" not in data:
        return cameras
    stored = Similarity.from_json(data["stored_from_user"], f"{path}: stored_from_user")
    return stored.inverse().apply(cameras)


def write_cameras_json(path: Path | str, cameras: Cameras, stored_from_user: Similarity | None = None) -> None:
    """Write cameras as our own JSON, with their lenses, times and numbers.

    Args:
        path: the file.
        cameras: of batch shape [n].
        stored_from_user: the world to store them in; readers undo it.

    Raises:
        InputError: poses that are not rigid.
    """
    path = Path(path)
    cameras = cameras if stored_from_user is None else stored_from_user.apply(cameras)
    flat = cameras_from("worldgen", cameras.world_from_camera, cameras.K, cameras.hw)
    frames = [
        {"world_from_camera": pose, "K": K, "width": cameras.hw[1], "height": cameras.hw[0], "view": view, "time_s": t}
        for pose, K, view, t in zip(
            flat.world_from_camera.double().tolist(), flat.K.double().tolist(), cameras.view.tolist(),
            cameras.time_s.double().tolist(),
        )
    ]  # fmt: skip
    for n, frame in enumerate(frames):
        if cameras.lens is not None and int(cameras.lens.kind[n]) != LensKind.PINHOLE:
            lens, reach = cameras.lens[n], float(cameras.lens.reach[n])
            numbers = lens.coefficients.double().tolist()
            frame["lens"] = {"kind": LensKind(int(lens.kind)).name, "coefficients": numbers}
            frame["lens"] |= {"reach": reach} if math.isfinite(reach) else {}
    data: dict[str, Any] = {"format": FORMAT, "convention": _CONVENTION, "cameras": frames}
    if stored_from_user is not None:
        data["stored_from_user"] = stored_from_user.to_json()
    write_json(path, data)


def _with_lens(
    path: Path, poses: Float[torch.Tensor, "n 4 4"], fov_deg: float | None, hw: tuple[int, int] | None
) -> Cameras:
    """Cameras of poses from a file that says nothing else. Raises InputError where their size is not given."""
    if hw is None:
        raise InputError(f"{path}: poses without the images' size; expected it: `hw=` HEIGHT WIDTH")
    if fov_deg is None:
        note(f"{path}: poses without a field of view; {_FOV_DEG:g} degrees are assumed")
    return Cameras.from_fov(poses, _FOV_DEG if fov_deg is None else fov_deg, hw)


def _rows(path: Path, count: int) -> Iterator[tuple[str, list[float]]]:
    """Lines of `count` numbers, each with its place; comments and empty lines are left out."""
    check_file(path, f"lines of {count} numbers", _MAX_BYTES)
    found = False
    for n, line in enumerate(path.read_bytes().splitlines(), 1):
        words = line.split(b"#")[0].replace(b",", b" ").split()
        if not words:
            continue
        where = f"{path}, line {n}"
        try:
            values = [float(word) for word in words]
        except ValueError as error:
            raise InputError(f"{where}: {shown(line[:40].decode('utf-8', 'replace'))}; expected numbers") from error
        if len(values) != count or not all(map(math.isfinite, values)):
            other = f" (as {_COLUMNS[len(values)]} has)" if len(values) in set(_COLUMNS) - {count} else ""
            raise InputError(f"{where}: {len(values)} numbers{other}, or NaN or Inf; expected {count} finite numbers")
        found = True
        yield where, values
    if not found:
        raise InputError(f"{path}: no poses; expected lines of {count} numbers")


def _lines(rows: torch.Tensor) -> str:
    return "".join(exact_line(row) + "\n" for row in rows.tolist())


def _K(rows: list, where: str) -> torch.Tensor:
    K = intrinsics_rows(rows, f"{where}: K")
    if K[1, 0] != 0:
        raise InputError(f"{where}: K {shown(rows)}; expected 0 in the second row's first place")
    return K


def _lens(data: object, where: str) -> Lens:
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(kind, str) or kind not in LensKind.__members__:
        raise InputError(f"{where} {shown(data)}; expected a kind, one of {', '.join(LensKind.__members__)}")
    numbers = entry(data, "coefficients", list, where)
    if len(numbers) != COEFFICIENTS:
        raise InputError(f"{where}: {len(numbers)} coefficients; expected {COEFFICIENTS}")
    reach = number(data["reach"], where) if "reach" in data else math.inf
    values = torch.tensor([number(value, where) for value in numbers], dtype=torch.float64)
    return Lens(torch.tensor(int(LensKind[kind])), values, torch.tensor(reach, dtype=torch.float64))


def _count(value: object, where: str, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1 << 31:
        raise InputError(f"{where} {shown(value)}; expected a whole number, {least} or more")
    return value
