"""3D Gaussians in files: PLY as INRIA's training code writes it, and `.splat` of web viewers.

.ply    float32 x y z, nx ny nz (0), f_dc_0..2, f_rest_* (channel by channel: all of red, then green, then blue),
        opacity (logit), scale_0..2 (natural logarithm, metres), rot_0..3 (w x y z)
.splat  32 bytes each, largest first: float32 position, float32 scale (metres), 8-bit red green blue opacity, 8-bit
        w x y z as 128 + 128 q. Colors lose what depends on direction; all but positions and scales is rounded.

Neither format says what its axes mean. Viewers take them as COLMAP's cameras have theirs, y pointing down: that frame,
"rdf", is written unless "z_up", this package's world, is asked for. A PLY says which in a comment, which readers here
understand. Means, orientations and harmonics rotate together (`Splats.moved`).
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from einops import rearrange

from geometry.errors import InputError, note
from geometry.gaussians.harmonics import CONSTANT, COUNTS
from geometry.gaussians.splats import Splats
from geometry.io.assets.ply import ply_header
from geometry.io.assets.ply_tables import MAX_BYTES, ply_tables
from geometry.io.assets.precision import check_float32, error_of_float32
from geometry.io.files import read_file, write_file
from geometry.shapes import Bool
from geometry.similarity import Similarity

Frame = Literal["rdf", "z_up"]
_MEANING = {"rdf": "x right, y down, z forward; metres", "z_up": "right-handed, z up; metres"}
_CLEAR, _THIN_M = 1e-6, 1e-30  # where logits and logarithms end
_RECORD = np.dtype([("place", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("turn", "u1", 4)])


def write_splats(
    path: Path | str, splats: Splats, frame: Frame = "rdf", stored_from_user: Similarity | None = None
) -> None:
    """Write Gaussians as `.ply` or `.splat`, by the name's suffix.

    A PLY holds opacities of 1e-6 to 1 - 1e-6 and scales of 1e-30 m or more; what is beyond is clamped.

    Args:
        path: the file.
        splats: in our world, z up.
        frame: the axes of the file; "rdf" is y down, as viewers take it, "z_up" ours.
        stored_from_user: the world to store them in, kept as a comment; `read_splats` undoes it. A `.splat` has no
            place for it.

    Raises:
        InputError: another suffix or kind of value, positions that float32 cannot hold, NaN or Inf, scales below 0,
            quaternions of length 0, and for a `.splat` no Gaussians or a world to store them in.
    """
    path = Path(path)
    _check_format(path, frame)
    if not isinstance(splats, Splats):
        raise InputError(f"{path}: a {type(splats).__name__}; expected Splats")
    _check(path, splats)
    if stored_from_user is not None and path.suffix == ".splat":
        raise InputError(f"{path}: a world to store splats in; expected .ply, which has a place to say so")
    stored = splats if stored_from_user is None else stored_from_user.apply(splats)
    check_float32(stored.means, str(path))
    turned = stored.to("cpu").to(torch.float32)
    if frame == "rdf":
        turned = turned.moved(_rdf_from_world())
    write_file(path, _ply(turned, frame, stored_from_user) if path.suffix == ".ply" else _records(path, turned))


def read_splats(path: Path | str, frame: Frame | None = None, drop_nonfinite: bool = False) -> Splats:
    """Read Gaussians of a `.ply` or `.splat` into our world, z up.

    Args:
        path: the file.
        frame: what the file's axes mean; None = what a PLY of ours says itself, and "rdf" for all others.
        drop_nonfinite: leave out Gaussians with NaN or Inf, with a note of their number, instead of refusing the file.

    Returns:
        The Gaussians, float32; float64 where float32 would lose something of doubles, or a world to store in is undone.

    Raises:
        InputError: the file is missing, empty, truncated or of another format, numbers are NaN, Inf or beyond float32,
            or quaternions have length 0.
    """
    path = Path(path)
    _check_format(path, frame)
    found, said, stored = _from_ply(path) if path.suffix == ".ply" else (_from_records(path), None, None)
    if drop_nonfinite and not bool((whole := _finite(found)).all()):
        note(f"{path}: {int((~whole).sum())} of {len(whole)} Gaussians with NaN or Inf are left out")
        found = Splats(*(values[whole] for values in vars(found).values()))
    _check(path, found)
    if (frame or said) != "z_up":
        found = found.moved(_rdf_from_world().T)
        _check(path, found)
    if stored is not None:
        found = stored.undo(found)
        _check(path, found)
    return found


def _rdf_from_world() -> torch.Tensor:
    """(x, y, z) -> (x, -z, y): what lies ahead along y and up along z, as a level camera has it."""
    return torch.tensor([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def _check_format(path: Path, frame: str | None) -> None:
    if path.suffix not in (".ply", ".splat"):
        raise InputError(f"{path}: splats in a file {path.suffix!r}; expected .ply or .splat")
    if frame not in (None, *get_args(Frame)):
        raise InputError(f"{path}: frame {frame!r}; expected one of {', '.join(get_args(Frame))}")


def _check(path: Path, splats: Splats) -> None:
    if not bool((whole := _finite(splats)).all()):
        bad = ", ".join(name for name, values in vars(splats).items() if not bool(values.isfinite().all()))
        seen = f"{int((~whole).sum())} of {len(whole)} Gaussians with NaN or Inf ({bad})"
        raise InputError(f"{path}: {seen}; expected finite numbers (read_splats can leave them out: drop_nonfinite)")
    if bool((splats.scales < 0).any()):
        raise InputError(f"{path}: scales of {float(splats.scales.min()):g} m; expected 0 or more")
    length = splats.quaternions_wxyz.norm(dim=-1)
    if not bool(((length > 1e-12) & length.isfinite()).all()):
        raise InputError(f"{path}: quaternions of length 0 or beyond float32; expected rotations")


def _finite(splats: Splats) -> Bool[torch.Tensor, "n"]:
    """The Gaussians without NaN and Inf."""
    return torch.stack([v.isfinite()[:, None].flatten(1).all(-1) for v in vars(splats).values()]).all(0)


def _ply(splats: Splats, frame: Frame, stored_from_user: Similarity | None) -> bytes:
    rest = rearrange(splats.harmonics[:, 1:], "n k c -> n (c k)")
    opacity = splats.opacities.clamp(_CLEAR, 1 - _CLEAR).logit()[:, None]
    scales = splats.scales.clamp_min(_THIN_M).log()
    columns = [splats.means, torch.zeros_like(splats.means), splats.harmonics[:, 0], rest, opacity, scales]
    table = torch.cat([*columns, splats.quaternions_wxyz], -1).detach().numpy()
    comments = [
        *([] if stored_from_user is None else [stored_from_user.to_line()]),
        f"frame {frame}: {_MEANING[frame]}",
    ]
    properties = [f"float {name}" for name in _names(rest.shape[1])]
    return ply_header(comments, [("vertex", len(splats), properties)]) + table.astype("<f4").tobytes()


def _names(rest: int) -> list[str]:
    counts = {"f_dc": 3, "f_rest": rest, "opacity": 1, "scale": 3, "rot": 4}
    numbered = [f"{name}_{i}" for name, count in counts.items() for i in range(count)]
    return ["x", "y", "z", "nx", "ny", "nz", *(name.replace("opacity_0", "opacity") for name in numbered)]


def _from_ply(path: Path) -> tuple[Splats, str | None, Similarity | None]:
    tables = ply_tables(path, ("vertex",))
    vertices, comments = tables.columns.get("vertex", {}), tables.comments
    rest = sum(name.startswith("f_rest_") for name in vertices)
    names = _names(rest)
    missing = [name for name in names if name not in vertices and name not in ("nx", "ny", "nz")]
    if missing or rest not in [3 * (count - 1) for count in COUNTS]:
        seen = f"no {missing[0]}" if missing else f"{rest} x f_rest"
        raise InputError(f"{path}: vertices with {seen}; expected 3D Gaussians of 0, 9, 24 or 45 x f_rest")
    left = [name for name in vertices if name not in names]
    left += [f"{e.count} x {e.name}" for e in tables.elements if e.name != "vertex" and e.count]
    if left:
        note(f"{path}: left out: {', '.join(left)[:200]}")

    def columns(*wanted: str) -> torch.Tensor:
        with np.errstate(over="ignore", invalid="ignore"):  # doubles beyond float32 are refused as infinite
            return torch.from_numpy(np.stack([vertices[name].values.astype(np.float32) for name in wanted], -1))

    first = columns("f_dc_0", "f_dc_1", "f_dc_2")[:, None]
    others = columns(*(f"f_rest_{i}" for i in range(rest))) if rest else first.new_zeros(len(first), 0)
    splats = Splats(
        columns("x", "y", "z"),
        columns(*(f"rot_{i}" for i in range(4))),
        columns(*(f"scale_{i}" for i in range(3))).exp(),
        columns("opacity")[:, 0].sigmoid(),
        torch.cat([first, rearrange(others, "n (c k) -> n k c", c=3)], 1),
    )
    places = torch.from_numpy(np.stack([vertices[axis].values for axis in "xyz"], -1))
    if error_of_float32(places):
        splats = replace(splats.to(torch.float64), means=places)
    said = [frame for frame in get_args(Frame) if any(line.startswith(f"frame {frame}:") for line in comments)]
    return splats, said[0] if said else None, Similarity.from_lines(comments, str(path))


def _records(path: Path, splats: Splats) -> bytes:
    if not len(splats):
        raise InputError(f"{path}: no Gaussians; expected at least one in a .splat file")
    order = (splats.scales.prod(-1) * splats.opacities).argsort(descending=True, stable=True)
    turn = torch.nn.functional.normalize(splats.quaternions_wxyz, dim=-1)
    rgba = torch.cat([splats.harmonics[:, 0] * CONSTANT + 0.5, splats.opacities[:, None]], -1)
    records = np.zeros(len(splats), _RECORD)
    records["place"], records["scale"] = splats.means[order].detach(), splats.scales[order].detach()
    for name, values in (("rgba", rgba * 255), ("turn", turn * 128 + 128)):
        records[name] = values[order].detach().round().clamp(0, 255).byte()
    return records.tobytes()


def _from_records(path: Path) -> Splats:
    data = read_file(path, "a .splat file", MAX_BYTES)
    if len(data) % _RECORD.itemsize:
        raise InputError(f"{path}: {len(data)} bytes; expected a .splat file, a multiple of {_RECORD.itemsize}")
    records = np.frombuffer(data, _RECORD)
    place, scale, rgba, turn = (torch.from_numpy(records[name].astype(np.float32)) for name in _RECORD.names or ())
    harmonics = (rgba[:, None, :3] / 255 - 0.5) / CONSTANT
    return Splats(place, (turn - 128) / 128, scale, rgba[:, 3] / 255, harmonics)
