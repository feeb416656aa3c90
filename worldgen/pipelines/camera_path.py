"""Where the cameras of an orbit go, in the caller's frame and units."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError, note
from geometry.image.framing import square_camera
from geometry.io.captures.posed import each_camera
from geometry.io.formats import read
from geometry.rotation.transforms import invert_rigid
from geometry.shapes import Float
from geometry.similarity import Similarity
from geometry.trajectory.paths import nearest_point_to_axes
from geometry.trajectory.paths import orbit as circle
from geometry.trajectory.up import estimate_up, level_from_world, parse_up
from geometry.values import as_value
from worldgen.core.clip import Clip
from worldgen.core.normalization import require_scene_scale
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.inputs import ImageInput, Inputs
from worldgen.pipelines.novel_views import Sampling, generate_views

MOST_FRAMES = 2000
_Z = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)


@as_value
@dataclass(frozen=True)
class OrbitRequest:
    """What an orbit is made from, and how.

    images, cameras, frames, seed  as of `worldgen.orbit`
    elevation_deg, radius, fov_deg  where an image without cameras was taken from: degrees above the pivot's horizon,
            metres to the pivot straight ahead (default: the median depth the model predicts, which is not metric),
            degrees over the shorter side (default: EXIF, else 55). Posed images bring their own; a single posed one
            takes `radius`
    views   transforms.json, or any other file of cameras, or Cameras [n] to render instead of an orbit
    fit, size_px  "crop" or "pad" to a square, and the side of the frames (default: the model's)
    steps, guidance, solver  of the sampler (`worldgen.sampling.SOLVERS`; default: steps and guidance of the model)
    up      of the posed images' world: "auto" (estimated from their cameras, `geometry.estimate_up`; +z where that is
            near), an axis such as "-y", or three numbers
    skip_missing  leave out images that the capture names and that are missing
    """

    images: Sequence[ImageInput]
    cameras: Path | str | Cameras | None = None
    frames: int = 24
    seed: int = 0
    elevation_deg: float = 25.0
    radius: float | None = None
    fov_deg: float | None = None
    views: Path | str | Cameras | None = None
    fit: str = "crop"
    size_px: int | None = None
    steps: int | None = None
    guidance: float | None = None
    solver: str = "euler"
    up: str | Sequence[float | int] | Tensor = "auto"
    skip_missing: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.frames <= MOST_FRAMES:
            raise InputError(f"{self.frames} frames; expected 1 to {MOST_FRAMES}")
        for name, value in (("radius", self.radius), ("field of view", self.fov_deg)):
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name} {value}; expected more than 0")
        if parse_up(self.up) is not None and self.cameras is None:
            raise InputError(f"up {self.up} of an image without cameras; expected auto, which is +z")

    def size(self, model: WorldModel) -> int:
        """The side of the frames in pixels. Raises InputError for one that the model cannot make."""
        size, multiple = model.config.size_px if self.size_px is None else self.size_px, model.config.multiple
        if not 0 < size <= 512 or size % multiple:
            raise InputError(f"size of {size} pixels; expected a multiple of {multiple} up to 512")
        return size


@as_value
@dataclass(frozen=True)
class CameraPath:
    """The cameras to render and the frame they are in.

    cameras  [n] in path order; frame 0 is the given image where there is one without a pose
    given    [g] cameras of the given images
    pivot    [3] what is orbited
    scale    the scene scale in `unit`; `metric` says whether that means anything
    unit     of lengths: metres, that of the given cameras, or what the model takes for a metre
    up       [3] of the world, float64
    """

    cameras: Cameras
    given: Cameras
    pivot: Float[Tensor, "3"]
    radius: float
    elevation_deg: float
    scale: float
    metric: bool
    unit: str
    up: Float[Tensor, "3"]

    @property
    def given_frame(self) -> int | None:
        """The frame of the path whose camera is that of the first given image; None where there is none."""
        here = self.given[0]
        moved, zoomed = self.cameras.world_from_camera - here.world_from_camera, self.cameras.K - here.K
        same = ~(moved.flatten(1).any(1) | zoomed.flatten(1).any(1))
        if self.cameras.lens is not None or here.lens is not None:
            lenses = Cameras.cat([here[None], self.cameras]).lens
            assert lenses is not None, "cameras with a lens lost it when they were joined"
            bent = (lenses.coefficients[1:] != lenses.coefficients[0]).any(-1)
            same &= ~(bent | (lenses.kind[1:] != lenses.kind[0]))
        return int(same.nonzero()[0]) if bool(same.any()) else None

    def facts(self) -> dict[str, Any]:
        """What a manifest keeps of it."""
        return {
            "frames": len(self.cameras),
            "pivot": self.pivot.tolist(),
            "radius": self.radius,
            "elevation_deg": self.elevation_deg,
            "scene_scale": self.scale,
            "metric": self.metric,
            "unit": self.unit,
            "up": self.up.tolist(),
            "camera_convention": "files: OpenGL axes (nerfstudio); K in pixels, centres at +0.5",
            "reference_from_world": invert_rigid(self.given.world_from_camera[0]).tolist(),
        }


def camera_path(model: WorldModel, inputs: Inputs, request: OrbitRequest, sampling: Sampling) -> CameraPath:
    """A full circle around what the given images look at, or the views that are asked for; for an image without a pose
    the pivot is the origin, z up."""
    up = _up(inputs, request)
    turn = None if torch.equal(up, _Z) else level_from_world(up)
    given = inputs.given.cameras if turn is None else inputs.given.cameras.moved(_rotation(turn))
    frames, radius, elevation_deg = request.frames, request.radius, request.elevation_deg
    several = inputs.posed and len(given) > 1
    metric = radius is not None or several
    unit = "unit of the given cameras" if inputs.posed else "metres" if metric else "scale guessed by the model"
    if several:
        scale = require_scene_scale(given)
        pivot = nearest_point_to_axes(given.world_from_camera)
        radius = float((given.centers - pivot).norm(dim=-1).mean())
    else:
        scale = radius = radius if radius is not None else _median_depth(model, inputs, sampling)
        pivot = given.centers[0] + radius * given.forward[0]
    azimuth_deg = 0.0
    if inputs.posed:
        away = given.centers - pivot
        elevation_deg = float(torch.rad2deg(torch.asin((away[:, 2] / away.norm(dim=-1)).clamp(-0.999, 0.999))).mean())
        azimuth_deg = float(torch.rad2deg(torch.atan2(away[0, 1], away[0, 0])))
    else:
        pivot = torch.zeros(3)
    poses = circle(pivot, radius, elevation_deg, frames, azimuth_deg)
    if turn is not None:
        poses = _rotation(turn.mT) @ poses
        pivot, given = turn.mT.to(pivot) @ pivot, inputs.given.cameras
    lens = None if given.lens is None else given.lens[[0] * frames]
    cameras = Cameras(poses, given.K[:1].expand(frames, 3, 3), given.hw, lens=lens)
    if not inputs.posed:
        given = replace(given, world_from_camera=poses[:1])
    if request.views is not None:
        cameras = _views(request, given.hw[0], inputs.near_from_user)
    return CameraPath(cameras, given, pivot, radius, elevation_deg, scale, metric, unit, up)


def _up(inputs: Inputs, request: OrbitRequest) -> Float[Tensor, "3"]:
    """Up in the images' world: as asked for, else estimated from the cameras of the whole capture."""
    if (asked := parse_up(request.up)) is not None:
        return asked
    if not inputs.posed:
        return _Z
    poses = [clip.cameras.world_from_camera for clip in (inputs.given, inputs.held_out) if clip is not None]
    found = estimate_up(torch.cat(poses))
    if found.is_z:
        return _Z
    direction = ", ".join(f"{value:.3f}" for value in found.direction.tolist())
    how = "as its cameras are held level" if found.certain else "that of its cameras, which all look the same way"
    note(
        f"up of the capture is taken as ({direction}), {how}, {found.off_z_deg:.0f} degrees from +z; `up` says another"
    )
    return found.direction


def _rotation(turn: Float[Tensor, "3 3"]) -> Float[Tensor, "4 4"]:
    return torch.block_diag(turn, torch.ones(1, 1, dtype=turn.dtype)).float()


def _views(request: OrbitRequest, size: int, near_from_user: Similarity) -> Cameras:
    """Cameras [n] of size x size pixels to render instead of an orbit. Raises InputError for cameras of another size,
    or a file of too many frames."""
    views = request.views
    if isinstance(views, Cameras):
        if len(views.shape) != 1 or views.hw != (size, size):
            raise InputError(f"views of shape {tuple(views.shape)} and size {views.hw}; expected [n] of {(size, size)}")
        return views if near_from_user.is_identity else near_from_user.apply(views.to(torch.float64)).to(torch.float32)
    assert views is not None, "called where there are views"
    found = read(Path(views), "cameras", need_images=False, fov_deg=request.fov_deg, hw=(size, size))
    each = each_camera(found) if isinstance(found, Cameras) else [frame.camera for frame in found.frames]
    if len(each) > MOST_FRAMES:
        raise InputError(f"{views}: {len(each)} frames; expected at most {MOST_FRAMES}")
    if not near_from_user.is_identity:
        each = [near_from_user.apply(camera[None])[0] for camera in each]
    return Cameras.cat([square_camera(camera, request.fit, size)[None] for camera in each])


def _median_depth(model: WorldModel, inputs: Inputs, sampling: Sampling) -> float:
    """The median depth the model predicts for the first image, in its own units: nothing fixes a scale."""
    first = inputs.given.frames(slice(0, 1))
    known = Clip(first.rgb[None], first.depth[None], first.cameras[None])
    seen = generate_views(model, known, known.cameras[:, :0], torch.ones(1), replace(sampling, guidance=1.0))
    depth = seen.depth[seen.depth.isfinite()]
    return float(depth.median().clamp(0.4, 4.0)) if len(depth) else 1.0
