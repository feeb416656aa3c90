"""The frames of a clip that are not known yet, generated request by request."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.shapes import Bool
from worldgen.core.clip import Clip
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling, generate_views
from worldgen.pipelines.view_schedule import Request


def fill(
    model: WorldModel,
    clip: Clip,
    given: Bool[Tensor, "f"],
    requests: Sequence[Request],
    scale: float,
    sampling: Sampling,
    on_step: Callable[[], None] | None = None,
) -> Clip:
    """Generate frames of a clip in several calls of the sampler, each from frames that are known by then.

    A generated frame is known to later requests with its depth. A given image is known without: its depth is estimated
    once, by the first request that includes it, and not fed back, so that errors of depth do not grow.

    Args:
        model: The model; a request has at most `model.config.frames` frames.
        clip: All frames [f], on the CPU: cameras, and the images of the given ones; the rest may hold anything.
        given: Which frames' images are given.
        requests: What is generated from what, in this order (`worldgen.pipelines.view_schedule`).
        scale: The scene scale, metres.
        sampling: Of every call. Noise belongs to the number of a frame, so a schedule does not change it.
        on_step: Called after every sampling step.

    Returns:
        The clip with the images and depth of every frame that some request includes; depth 0 elsewhere.

    Raises:
        InputError: For requests without a known frame, or of more frames than the model takes.
    """
    rgb, depth = torch.where(given[:, None, None, None], clip.rgb, 0.0), torch.zeros_like(clip.depth)
    for request in requests:
        ids = torch.tensor([*request.known, *request.new], dtype=torch.long)
        known, new = ids[: len(request.known)], ids[len(request.known) :]
        known_depth = torch.where(given[known, None, None, None], 0.0, depth[known])
        seen = Clip(rgb[known][None], known_depth[None], _batch(clip.cameras, known))
        size = torch.tensor([scale])
        made = generate_views(model, seen, _batch(clip.cameras, new), size, sampling, ids.tolist(), on_step)
        estimated = given[known] & (depth[known].flatten(1).amax(1) == 0)
        fresh = torch.cat([estimated, torch.ones(len(new), dtype=torch.bool)])
        rgb[new] = made.rgb[0, len(known) :].cpu()
        depth[ids[fresh]] = made.depth[0, fresh].cpu()
    return Clip(rgb, depth, clip.cameras)


def _batch(cameras: Cameras, ids: Tensor) -> Cameras:
    """Cameras [1, k] of some frames."""
    return cameras[ids][None]
