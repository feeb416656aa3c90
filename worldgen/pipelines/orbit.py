"""One image, or several with cameras, to an orbit of RGB-D frames and its geometry."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from worldgen.core.clip import Clip
from worldgen.core.world import HeldOut, World
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.camera_path import CameraPath, OrbitRequest, camera_path
from worldgen.pipelines.filling import fill
from worldgen.pipelines.inputs import ImageInput, Inputs, image_list, read_inputs
from worldgen.pipelines.lifting import lift
from worldgen.pipelines.novel_views import Sampling
from worldgen.pipelines.view_schedule import schedule
from worldgen.runtime.config import plain
from worldgen.runtime.manifest import model_identity, provenance
from worldgen.runtime.progress import Report, Work, shown

_COSTS = {"reading": 5.0, "sampling": 85.0, "lifting": 10.0}  # a guess: 24 frames, with few images given


def orbit(
    model: WorldModel,
    images: ImageInput | Sequence[ImageInput],
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
    up: str | Sequence[float | int] | Tensor = "auto",
    skip_missing: bool = False,
    progress: bool | Report = False,
) -> World:
    """Generate the orbit around what the images show, and lift it to points and a mesh.

    Args:
        model: Of any size; a call has at most `model.config.frames` frames.
        images: One file or image (`geometry.as_image`), or with `cameras` several: a list, folder, tensor or video.
        cameras: A capture that names them (its other frames are rendered too), a file of poses, or Cameras [g].
        frames: Length of the orbit, a full circle. One image without cameras is its frame 0.
        seed: Of the noise.
        progress: Whether to show it on stderr, or a function that takes the share of all work done, and the stage.
        elevation_deg, radius, fov_deg, views, fit, size_px, steps, guidance, solver, up, skip_missing: As of
            `worldgen.pipelines.camera_path.OrbitRequest`.

    Returns:
        The world, in the cameras' frame and units; what its depth does not make (points, mesh) is empty, with a note.

    Raises:
        InputError: For anything that does not fit together.
    """
    options = (elevation_deg, radius, fov_deg, views, fit, size_px, steps, guidance, solver, up, skip_missing)
    with shown(progress) as report:
        return _orbit(model, OrbitRequest(image_list(images), cameras, frames, seed, *options), Work(report, _COSTS))


def _orbit(model: WorldModel, request: OrbitRequest, work: Work) -> World:
    work.begin("reading")
    began, size = time.perf_counter(), request.size(model)
    sampling = Sampling.of(model, request.steps, request.guidance, request.solver, request.seed)
    inputs = read_inputs(request.images, request.cameras, request.fov_deg, request.fit, size, request.skip_missing)
    read = time.perf_counter()
    path = camera_path(model, inputs, request, sampling)
    clip, given, held_out = _generate(model, inputs, path, sampling, work)
    made = time.perf_counter()
    work.begin("lifting")
    lifted = lift(clip.followed_by(given) if inputs.posed else clip, path.pivot, path.scale)
    done = time.perf_counter()
    timings = {"read_s": read - began, "generate_s": made - read, "lift_s": done - made, "total_s": done - began}
    manifest = _manifest(model, inputs, path, sampling)
    world = World(clip, given, lifted.points, lifted.mesh, manifest, held_out, timings, lifted.failed)
    return world if inputs.near_from_user.is_identity else world.before(inputs.near_from_user)


def _generate(
    model: WorldModel, inputs: Inputs, path: CameraPath, sampling: Sampling, work: Work
) -> tuple[Clip, Clip, HeldOut | None]:
    """All frames: the path's, the given ones with depth, and those rendered for held-out cameras."""
    parts = [path.cameras, path.given] + ([inputs.held_out.cameras] if inputs.held_out is not None else [])
    cameras, n, g = Cameras.cat(parts), len(path.cameras), len(path.given)
    known, limit, scale = list(range(n, n + g)), model.config.frames, path.scale
    copied = path.given_frame if not inputs.posed else None
    order, singles = [i for i in range(n) if i != copied], list(range(n + g, len(cameras)))
    requests = schedule(cameras, order, singles, known, limit, scale)
    on_step = work.counter("sampling", len(requests) * sampling.calls(model))
    rgb = torch.zeros(len(cameras), 3, *cameras.hw)
    rgb[n : n + g] = inputs.given.rgb
    given = torch.zeros(len(cameras), dtype=torch.bool)
    given[known] = True
    clip = fill(model, Clip(rgb, torch.zeros_like(rgb[:, :1]), cameras), given, requests, scale, sampling, on_step)
    if copied is not None:
        clip.rgb[copied], clip.depth[copied] = clip.rgb[n], clip.depth[n]
    truth, names = inputs.held_out, inputs.held_out_names
    held_out = None if truth is None else HeldOut(clip.frames(slice(n + g, None)), truth, names)
    return clip.frames(slice(0, n)), clip.frames(slice(n, n + g)), held_out


def _manifest(model: WorldModel, inputs: Inputs, path: CameraPath, sampling: Sampling) -> dict[str, Any]:
    return provenance() | {
        "model": model_identity(model.config.name, model.config, model.weights_sha256),
        "device": model.device.type,
        "precision": model.computes_in,
        "sampling": plain(sampling),
        **inputs.facts(),
        **path.facts(),
    }
