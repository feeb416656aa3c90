"""Errors of camera paths against true ones: RotErr, TransErr and CamMC; ATE and RPE."""

from dataclasses import dataclass
from typing import Literal

import torch

from geometry.errors import InputError
from geometry.rotation.transforms import invert_rigid
from geometry.shapes import Float
from geometry.similarity import Similarity
from geometry.values import as_value

Alignment = Literal["none", "rigid", "sim3"]


def ate(
    found: Float[torch.Tensor, "*b f 4 4"], true: Float[torch.Tensor, "*b f 4 4"], alignment: Alignment = "sim3"
) -> Float[torch.Tensor, "*b"]:
    """Absolute trajectory errors after alignment (Sturm et al. 2012, eq. 8; alignment by Umeyama 1991).

    Args:
        found: Poses `world_from_camera` [*b, f, 4, 4], metres.
        true: The true poses [*b, f, 4, 4], metres.
        alignment: How the found path is put onto the true one: "none", "rigid" (rotated and moved) or "sim3" (scaled
            too, as for monocular reconstructions).

    Returns:
        Root mean squared distances of the camera centers [*b], metres.

    Raises:
        InputError: If the paths have different shapes or fewer than two frames, or the alignment is not known.
    """
    _check(found, true)
    if alignment not in ("none", "rigid", "sim3"):
        raise InputError(f"alignment {alignment!r}; expected one of none, rigid, sim3")
    centers = found[..., :3, 3]
    if alignment != "none":
        orientations = (found[..., :3, :3], true[..., :3, :3])
        best = Similarity.between(centers, true[..., :3, 3], alignment == "sim3", orientations)
        centers = best.points(centers)
    return (centers - true[..., :3, 3]).square().sum(-1).mean(-1).sqrt()


def rpe(
    found: Float[torch.Tensor, "*b f 4 4"], true: Float[torch.Tensor, "*b f 4 4"], delta: int = 1
) -> tuple[Float[torch.Tensor, "*b"], Float[torch.Tensor, "*b"]]:
    """Relative pose errors: by how much the motions from frame i to i + delta differ (Sturm et al. 2012, eq. 2 to 4).

    They do not depend on the frames of reference, but on the scale.

    Args:
        found: Poses `world_from_camera` [*b, f, 4, 4], metres.
        true: The true poses [*b, f, 4, 4], metres.
        delta: The number of frames a motion takes.

    Returns:
        Root mean squares over frames of the differences in translation [*b], metres, and in rotation [*b], degrees.

    Raises:
        InputError: If the paths have different shapes or fewer than delta + 1 frames.
    """
    _check(found, true)
    if not 1 <= delta < true.shape[-3]:
        raise InputError(f"motions over {delta} of {true.shape[-3]} frames; expected 1 to {true.shape[-3] - 1}")
    steps = [invert_rigid(p[..., :-delta, :, :]) @ p[..., delta:, :, :] for p in (true, found)]
    error = invert_rigid(steps[0]) @ steps[1]
    degrees = torch.rad2deg(angle_of(error[..., :3, :3]))
    return error[..., :3, 3].square().sum(-1).mean(-1).sqrt(), degrees.square().mean(-1).sqrt()


@as_value
@dataclass(frozen=True)
class TrajectoryErrors:
    """Errors of whole trajectories.

    Attributes:
        rotation: Angles between the rotations [*b].
        translation: Distances of the centers [*b].
        cam_mc: Frobenius norms of the differences of [R | t] [*b].
        protocol: How they were computed, in words.
    """

    rotation: Float[torch.Tensor, "*b"]
    translation: Float[torch.Tensor, "*b"]
    cam_mc: Float[torch.Tensor, "*b"]
    protocol: str


def trajectory_errors(
    found: Float[torch.Tensor, "*b f 4 4"],
    true: Float[torch.Tensor, "*b f 4 4"],
    reduce: Literal["sum", "mean"] = "sum",
    angle: Literal["rad", "deg"] = "rad",
    alignment: Literal["none", "scale", "sim3"] = "scale",
    unit: Literal["path", "metres"] = "path",
) -> TrajectoryErrors:
    """RotErr, TransErr and CamMC of trajectories, both relative to their frame 0.

    (sum, rad, scale, path) are CamI2V's RotErr, TransErr_rel and CamMC, (sum, rad, none, path) its TransErr_abs
    (arXiv 2410.15957, `evaluation/glomap_evaluation.py`).

    Args:
        found: Poses `world_from_camera` [*b, f, 4, 4], metres.
        true: The true poses [*b, f, 4, 4], metres.
        reduce: "sum" or "mean" over the frames after the first. Sums grow with the number of frames, which the
            protocol names.
        angle: The unit of angles, "rad" or "deg".
        alignment: "none"; "scale" scales the found path so that its farthest point from frame 0 is as far as the true
            path's; "sim3" applies the similarity that best fits all centers (Umeyama 1991), to rotations too.
        unit: The unit of lengths: "metres", or "path" for the true path's farthest distance from frame 0.

    Returns:
        The errors [*b] and the protocol.

    Raises:
        InputError: If the paths have different shapes or fewer than two frames, a flag is not known, or the true path
            stays in one place and "scale" or "path" needs its length.
    """
    _check(found, true)
    for name, value, known in (
        ("reduce", reduce, ("sum", "mean")),
        ("angle", angle, ("rad", "deg")),
        ("alignment", alignment, ("none", "scale", "sim3")),
        ("unit", unit, ("path", "metres")),
    ):
        if value not in known:
            raise InputError(f"{name} {value!r}; expected one of {', '.join(known)}")
    found, true = (invert_rigid(path[..., :1, :, :]) @ path for path in (found, true))
    length = true[..., :3, 3].norm(dim=-1).amax(-1)
    if (alignment == "scale" or unit == "path") and bool((length <= 0).any()):
        raise InputError("a true path that stays in one place has no length; expected alignment none or sim3 in metres")
    rotation, center = _aligned(found, true, alignment)
    unit_length = length[..., None, None] if unit == "path" else torch.ones_like(length)[..., None, None]
    angles = angle_of(rotation.mT @ true[..., :3, :3])[..., 1:]
    offset = ((center - true[..., :3, 3]) / unit_length)[..., 1:, :]
    both = (offset.square().sum(-1) + (rotation - true[..., :3, :3])[..., 1:, :, :].square().sum((-2, -1))).sqrt()
    total = torch.sum if reduce == "sum" else torch.mean
    errors = (torch.rad2deg(angles) if angle == "deg" else angles, offset.norm(dim=-1), both)
    rotations, translations, both = (total(error, -1) for error in errors)
    protocol = _protocol(reduce, angle, alignment, unit, true.shape[-3] - 1)
    return TrajectoryErrors(rotations, translations, both, protocol)


def _aligned(found: torch.Tensor, true: torch.Tensor, alignment: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotations and centers of a path, both relative to their frame 0, put onto the true one."""
    rotation, center = found[..., :3, :3], found[..., :3, 3]
    if alignment == "scale":
        own, far = (path[..., :3, 3].norm(dim=-1).amax(-1) for path in (found, true))
        center = center * (far / own.clamp_min(1e-12))[..., None, None]
    elif alignment == "sim3":
        best = Similarity.between(center, true[..., :3, 3], orientations=(rotation, true[..., :3, :3]))
        rotation, center = best.rotation[..., None, :, :] @ rotation, best.points(center)
    return rotation, center


def _protocol(reduce: str, angle: str, alignment: str, unit: str, frames: int) -> str:
    """How errors were computed, in words."""
    lengths = "in metres" if unit == "metres" else "in lengths of the true path"
    name = f"{reduce} over {frames} frames, {angle}, {alignment} alignment, {lengths}"
    known = {"scale": "CamI2V (rel)", "none": "CamI2V (abs)"}.get(alignment)
    if (reduce, angle, unit) == ("sum", "rad", "path") and known:
        name = f"{known}: {name}"
    return name


def angle_of(rotation: Float[torch.Tensor, "*b 3 3"]) -> Float[torch.Tensor, "*b"]:
    """The angle of rotations in radians, exact for small ones too."""
    sine = torch.stack([rotation[..., 2, 1] - rotation[..., 1, 2], rotation[..., 0, 2] - rotation[..., 2, 0],
                        rotation[..., 1, 0] - rotation[..., 0, 1]], -1).norm(dim=-1) / 2  # fmt: skip
    cosine = (rotation.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.atan2(sine, cosine)


def _check(found: torch.Tensor, true: torch.Tensor) -> None:
    if found.shape != true.shape or true.shape[-3] < 2:
        raise InputError(
            f"trajectories {tuple(found.shape)} and {tuple(true.shape)}; expected one shape [*b, f >= 2, 4, 4]"
        )
