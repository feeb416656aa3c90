"""How far camera paths are from the true ones: RotErr, TransErr and CamMC; ATE and RPE."""

from dataclasses import dataclass
from typing import Literal

import torch

from geometry.errors import InputError
from geometry.rotation.transforms import invert_rigid
from geometry.shapes import Float
from geometry.similarity import Similarity

Alignment = Literal["none", "rigid", "sim3"]


def ate(
    found: Float[torch.Tensor, "*b f 4 4"], true: Float[torch.Tensor, "*b f 4 4"], alignment: Alignment = "sim3"
) -> Float[torch.Tensor, "*b"]:
    """Absolute trajectory errors: root mean squared distances of the centers of `world_from_camera`, in metres, once
    the found path is put onto the true one (Sturm et al. 2012, eq. 8, with the alignment of Umeyama 1991).

    alignment  "none", "rigid" (turned and moved) or "sim3" (scaled too, as for monocular reconstructions)

    Raises InputError for paths of different shapes, fewer than two frames, and an alignment it does not know.
    """
    _check(found, true)
    if alignment not in ("none", "rigid", "sim3"):
        raise InputError(f"alignment {alignment!r}; expected one of none, rigid, sim3")
    centers = found[..., :3, 3]
    if alignment != "none":
        centers = Similarity.between(centers, true[..., :3, 3], scaled=alignment == "sim3").points(centers)
    return (centers - true[..., :3, 3]).square().sum(-1).mean(-1).sqrt()


def rpe(
    found: Float[torch.Tensor, "*b f 4 4"], true: Float[torch.Tensor, "*b f 4 4"], delta: int = 1
) -> tuple[Float[torch.Tensor, "*b"], Float[torch.Tensor, "*b"]]:
    """Relative pose errors over every `delta` frames: root mean squares of metres and of degrees by which the motions
    from frame i to i + delta differ (Sturm et al. 2012, eq. 2 to 4). Frames of reference don't matter; scale does.

    Raises InputError for paths of different shapes, and fewer than delta + 1 frames.
    """
    _check(found, true)
    if not 1 <= delta < true.shape[-3]:
        raise InputError(f"motions over {delta} of {true.shape[-3]} frames; expected 1 to {true.shape[-3] - 1}")
    steps = [invert_rigid(p[..., :-delta, :, :]) @ p[..., delta:, :, :] for p in (true, found)]
    error = invert_rigid(steps[0]) @ steps[1]
    degrees = torch.rad2deg(angle_of(error[..., :3, :3]))
    return error[..., :3, 3].square().sum(-1).mean(-1).sqrt(), degrees.square().mean(-1).sqrt()


@dataclass(frozen=True)
class TrajectoryErrors:
    """Errors of whole trajectories [*b], and how they were taken.

    rotation     angles between the rotations
    translation  distances of the centers
    cam_mc       Frobenius norms of the differences of [R | t]
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
    """RotErr, TransErr and CamMC of trajectories of `world_from_camera`, both taken relative to their frame 0.

    reduce     over the frames after the first; sums grow with their number, which the protocol's name says
    alignment  "none"; "scale": the found path's farthest point from frame 0 is put as far as the true one's; "sim3":
               the similarity of all centers that fits best (Umeyama 1991), which the trajectory's turns undergo too
    unit       lengths in metres, or in the true path's farthest distance from frame 0

    (sum, rad, scale, path) are CamI2V's RotErr, TransErr_rel and CamMC, (sum, rad, none, path) its TransErr_abs
    (arXiv 2410.15957, `evaluation/glomap_evaluation.py`). Raises InputError for fewer than two frames, paths of
    different shapes, flags it does not know, and for "scale" or "path" of a true path that stays in one place.
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
    far = true[..., :3, 3].norm(dim=-1).amax(-1)
    if (alignment == "scale" or unit == "path") and bool((far <= 0).any()):
        raise InputError("a true path that stays in one place has no length; expected alignment none or sim3 in metres")
    rotation, center = found[..., :3, :3], found[..., :3, 3]
    if alignment == "scale":
        own = center.norm(dim=-1).amax(-1)
        center = center * (far / own.clamp_min(1e-12))[..., None, None]
    elif alignment == "sim3":
        best = Similarity.between(center, true[..., :3, 3])
        rotation, center = best.rotation[..., None, :, :] @ rotation, best.points(center)
    length = far[..., None] if unit == "path" else torch.ones_like(far)[..., None]
    angles = angle_of(rotation.mT @ true[..., :3, :3])[..., 1:]
    offset = ((center - true[..., :3, 3]) / length[..., None])[..., 1:, :]
    both = (offset.square().sum(-1) + (rotation - true[..., :3, :3])[..., 1:, :, :].square().sum((-2, -1))).sqrt()
    total = torch.sum if reduce == "sum" else torch.mean
    errors = (torch.rad2deg(angles) if angle == "deg" else angles, offset.norm(dim=-1), both)
    frames = true.shape[-3] - 1
    lengths = "in metres" if unit == "metres" else "in lengths of the true path"
    name = f"{reduce} over {frames} frames, {angle}, {alignment} alignment, {lengths}"
    known = {"scale": "CamI2V (rel)", "none": "CamI2V (abs)"}.get(alignment)
    if (reduce, angle, unit) == ("sum", "rad", "path") and known:
        name = f"{known}: {name}"
    rotations, translations, both = (total(error, -1) for error in errors)
    return TrajectoryErrors(rotations, translations, both, name)


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
