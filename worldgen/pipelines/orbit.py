"""One image, or several with cameras, to an orbit of RGB-D frames and its geometry."""

import hashlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.image.framing import square_camera
from geometry.io.captures.nerfstudio import read_transforms
from geometry.rotation.transforms import invert_rigid
from geometry.trajectory.paths import nearest_point_to_axes
from geometry.trajectory.paths import orbit as orbit_path
from worldgen.core.clip import Clip
from worldgen.core.normalization import require_scene_scale
from worldgen.core.view_distance import angle_plus_distance
from worldgen.core.world import HeldOut, World
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.inputs import ImageInput, Inputs, read_inputs
from worldgen.pipelines.lifting import lift
from worldgen.pipelines.novel_views import Sampling, generate_views
from worldgen.pipelines.view_schedule import Call, as_batch, plan_calls, uncovered
from worldgen.runtime.config import as_first_stored, plain

MOST_FRAMES = 2000


@dataclass(frozen=True)
class Path3D:
    """The cameras to render and the frame they are in.

    cameras  [n] in path order; frame 0 is the given image where there is one without a pose
    given    [g] cameras of the given images
    pivot    what is orbited
    scale    the scene scale in the caller's units; `metric` says whether those mean anything
    """

    cameras: Cameras
    given: Cameras
    pivot: torch.Tensor
    radius: float
    elevation_deg: float
    scale: float
    metric: bool


def orbit(
    model: WorldModel,
    images: Sequence[ImageInput],
    cameras: Path | str | Cameras | None = None,
    frames: int = 24,
    seed: int = 0,
    *,
    elevation_deg: float = 25.0,
    radius: float | None = None,
    fov_deg: float | None = None,
    views: Path | str | Cameras | None = None,
    fit: str = "crop",
    size_px: int | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    solver: str = "euler",
    on_start: Callable[[int], None] | None = None,
    on_step: Callable[[], None] | None = None,
) -> World:
    """Generate the orbit around what the images show, and lift it to points and a mesh.

    images   one file or rgb tensor [3, h, w] in 0..1, or several with `cameras`
    cameras    transforms.json that names them (its other frames are rendered too and scored), or Cameras [g]
    frames     length of the orbit, a full circle. One image without cameras is its frame 0
    elevation_deg, radius, fov_deg  where such an image was taken from: degrees above the pivot's horizon, distance to
               the pivot straight ahead (default: the median depth the model predicts, which is not metric), degrees
               over the shorter side (default: EXIF, else 55). Posed images bring their own; a single posed one takes
               `radius`
    views      transforms.json or Cameras [n] to render instead of an orbit
    fit        "crop" or "pad" to a square; size_px  side of the frames (default: the model's)
    steps, guidance, solver  of the sampler (`worldgen.sampling.SOLVERS`; default: steps and guidance of the model)
    on_start   is called with the number of sampling steps to come, on_step after each

    Raises InputError for anything that does not fit together.
    """
    began = time.perf_counter()
    size = model.config.size_px if size_px is None else size_px
    if not 1 <= frames <= MOST_FRAMES:
        raise InputError(f"{frames} frames; expected 1 to {MOST_FRAMES}")
    if not 0 < size <= 512 or size % model.codec.block:
        raise InputError(f"size of {size} pixels; expected a multiple of {model.codec.block} up to 512")
    for name, value in (("radius", radius), ("field of view", fov_deg)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} {value}; expected more than 0")
    sampling = Sampling.of(model, steps, guidance, solver, seed)
    inputs = read_inputs(images, cameras, fov_deg, fit, size)
    read = time.perf_counter()
    path = _path(model, inputs, frames, elevation_deg, radius, views, fit, size, sampling)
    clip, given, rendered = _generate(model, inputs, path, sampling, on_start, on_step)
    made = time.perf_counter()
    everything = Clip(
        torch.cat([clip.rgb, given.rgb]),
        torch.cat([clip.depth, given.depth]),
        Cameras.cat([clip.cameras, given.cameras]),
    )
    lifted = lift(everything if inputs.posed else clip, path.pivot, path.scale)
    held_out = None
    if inputs.held_out is not None and rendered is not None:
        held_out = HeldOut(rendered, inputs.held_out, inputs.held_out_names, _scores(rendered, inputs))
    manifest = _manifest(model, inputs, path, sampling) | ({"held_out": held_out.scores} if held_out else {})
    done = time.perf_counter()
    timings = {"read_s": read - began, "generate_s": made - read, "lift_s": done - made, "total_s": done - began}
    return World(clip, given, lifted.points, lifted.mesh, manifest, held_out, timings)


def _path(
    model: WorldModel,
    inputs: Inputs,
    frames: int,
    elevation_deg: float,
    radius: float | None,
    views: Path | str | Cameras | None,
    fit: str,
    size: int,
    sampling: Sampling,
) -> Path3D:
    """Where the cameras go, in the caller's frame: z up; for an image without a pose the pivot is the origin."""
    given = inputs.given.cameras
    several = inputs.posed and len(given) > 1
    metric = radius is not None or several
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
    circle = orbit_path(pivot, radius, elevation_deg, frames, azimuth_deg)
    lens = None if given.lens is None else given.lens[[0] * frames]
    cameras = Cameras(circle, given.K[:1].expand(frames, 3, 3), given.hw, lens=lens)
    if not inputs.posed:
        given = replace(given, world_from_camera=circle[:1])
    if views is not None:
        cameras = _views(views, fit, size)
    return Path3D(cameras, given, pivot, radius, elevation_deg, scale, metric)


def _views(views: Path | str | Cameras, fit: str, size: int) -> Cameras:
    if isinstance(views, Cameras):
        if len(views.shape) != 1 or views.hw != (size, size):
            raise InputError(f"views of shape {tuple(views.shape)} and size {views.hw}; expected [n] of {(size, size)}")
        return views
    file = read_transforms(Path(views), need_images=False)
    if len(file) > MOST_FRAMES:
        raise InputError(f"{views}: {len(file)} frames; expected at most {MOST_FRAMES}")
    return Cameras.cat([square_camera(frame.camera, fit, size)[None] for frame in file.frames])


def _median_depth(model: WorldModel, inputs: Inputs, sampling: Sampling) -> float:
    """The median depth the model sees in the first image, in its own units: there is no scale to be had."""
    first = inputs.given.frames(slice(0, 1))
    known = Clip(first.rgb[None], first.depth[None], first.cameras[None])
    seen = generate_views(model, known, known.cameras[:, :0], torch.ones(1), replace(sampling, guidance=1.0))
    depth = seen.depth[seen.depth.isfinite()]
    return float(depth.median().clamp(0.4, 4.0)) if len(depth) else 1.0


def _generate(
    model: WorldModel,
    inputs: Inputs,
    path: Path3D,
    sampling: Sampling,
    on_start: Callable[[int], None] | None,
    on_step: Callable[[], None] | None,
) -> tuple[Clip, Clip, Clip | None]:
    """All frames: the path's, the given ones with depth, and those rendered for held-out cameras."""
    parts = [path.cameras, path.given] + ([inputs.held_out.cameras] if inputs.held_out is not None else [])
    cameras = Cameras.cat(parts)
    n, g = len(path.cameras), len(path.given)
    on_path = _on_path(path) if not inputs.posed else None  # frame of the path that is the given image itself
    known = list(range(n, n + g))
    path_ids = [i for i in range(n) if i != on_path]
    order = torch.tensor([*path_ids, *known])
    calls = [
        Call(tuple(int(order[i]) for i in call.known), tuple(int(order[i]) for i in call.new))
        for call in plan_calls(cameras[order], list(range(len(path_ids), len(order))), model.config.frames, path.scale)
    ]
    calls += [Call(tuple(_nearest(cameras, known, i, model.config.frames - 1, path.scale)), (i,))
              for i in range(n + g, len(cameras))]  # fmt: skip
    calls += uncovered(calls, known, model.config.frames)
    if on_start is not None:
        on_start(len(calls) * sampling.steps)

    rgb = torch.zeros(len(cameras), 3, *cameras.hw)
    depth = torch.zeros(len(cameras), 1, *cameras.hw)
    rgb[n : n + g] = inputs.given.rgb
    for call in calls:
        ids = torch.tensor([*call.known, *call.new], dtype=torch.long)
        # Given images keep unknown depth while others are made, so that depth errors do not feed on themselves.
        seen = ids[: len(call.known)]
        known_depth = torch.where((seen >= n)[:, None, None, None], 0.0, depth[seen])
        clip = Clip(rgb[seen][None], known_depth[None], as_batch(cameras, call.known))
        made = generate_views(
            model, clip, as_batch(cameras, call.new), torch.tensor([path.scale]), sampling, ids.tolist(), on_step
        )
        fresh = (ids >= n + g) | (ids < n) if call.new else torch.ones_like(ids, dtype=torch.bool)
        fresh[: len(seen)] = (seen >= n) & (depth[seen].flatten(1).amax(1) == 0)
        rgb[ids[len(seen) :]] = made.rgb[0, len(seen) :].cpu()
        depth[ids[fresh]] = made.depth[0, fresh].cpu()
    if on_path is not None:
        rgb[on_path], depth[on_path] = rgb[n], depth[n]
    clip = Clip(rgb, depth, cameras)
    rendered = clip.frames(slice(n + g, None)) if inputs.held_out is not None else None
    return clip.frames(slice(0, n)), clip.frames(slice(n, n + g)), rendered


def _on_path(path: Path3D) -> int | None:
    """The frame of the path whose camera is the given image's, if there is one."""
    here = path.given[0]
    moved, zoomed = path.cameras.world_from_camera - here.world_from_camera, path.cameras.K - here.K
    same = ~(moved.flatten(1).any(1) | zoomed.flatten(1).any(1))
    if path.cameras.lens is not None or here.lens is not None:
        lenses = Cameras.cat([here[None], path.cameras]).lens
        assert lenses is not None
        bent = (lenses.coefficients[1:] != lenses.coefficients[0]).any(-1)
        same &= ~(bent | (lenses.kind[1:] != lenses.kind[0]))
    return int(same.nonzero()[0]) if bool(same.any()) else None


def _nearest(cameras: Cameras, known: list[int], target: int, count: int, scale: float) -> list[int]:
    distance = angle_plus_distance(cameras[target][None], cameras[known], scale)[0]
    return [known[int(i)] for i in distance.argsort(stable=True)[:count]]


def _scores(rendered: Clip, inputs: Inputs) -> dict[str, Any]:
    """PSNR and SSIM of held-out views beside copy-nearest, each and on average."""
    from worldgen.evaluation.baselines import copy_nearest  # evaluation draws scenes: only where there is a truth
    from worldgen.evaluation.metrics.image import psnr, ssim

    truth = inputs.held_out
    assert truth is not None
    given = inputs.given
    batch = Clip(given.rgb[None], given.depth[None], given.cameras[None])
    copied = copy_nearest(batch, truth.cameras[None])[0]
    table = {
        "names": list(inputs.held_out_names),
        "psnr_db": psnr(rendered.rgb, truth.rgb),
        "ssim": ssim(rendered.rgb, truth.rgb),
        "copy_nearest_psnr_db": psnr(copied, truth.rgb),
        "copy_nearest_ssim": ssim(copied, truth.rgb),
    }
    lists = {k: [round(float(x), 4) for x in v] if isinstance(v, torch.Tensor) else v for k, v in table.items()}
    means = {f"mean_{k}": round(sum(v) / len(v), 4) for k, v in lists.items() if k != "names"}
    return lists | means


def _manifest(model: WorldModel, inputs: Inputs, path: Path3D, sampling: Sampling) -> dict[str, Any]:
    config = json.dumps(as_first_stored(plain(model.config)), sort_keys=True).encode()
    return {
        "generator": f"worldgen {version('worldgen')}",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "model": {
            "name": model.config.name,
            "config_sha256": hashlib.sha256(config).hexdigest(),
            "weights_sha256": model.weights_sha256,
        },
        "device": model.device.type,
        "precision": model.computes_in,
        "sampling": plain(sampling),
        "frames": len(path.cameras),
        "inputs": {"names": list(inputs.names), "posed": inputs.posed, **inputs.notes},
        "pivot": path.pivot.tolist(),
        "radius": path.radius,
        "elevation_deg": path.elevation_deg,
        "scene_scale": path.scale,
        "metric": path.metric,
        "frame": "the capture's own" if inputs.posed else "z up, origin at the pivot, the picture at azimuth 0",
        "camera_convention": "files: OpenGL axes (nerfstudio); K in pixels, centres at +0.5",
        "reference_from_world": invert_rigid(path.given.world_from_camera[0]).tolist(),
    }
