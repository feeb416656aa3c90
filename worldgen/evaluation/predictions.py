"""What a method predicts for the target frames of scenes, and how good that is."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.image.multiview import agreement
from geometry.shapes import Bool, Float
from geometry.values import as_value
from worldgen.core.clip import LOOKED_UP, Clip
from worldgen.core.normalization import scene_scale
from worldgen.core.view_distance import squared_distances
from worldgen.evaluation.baselines import BLIND, ORACLES, Views, constant_depth, row_depth
from worldgen.evaluation.enlarging import enlarged, shrunk, size_made
from worldgen.evaluation.geometric_baselines import GEOMETRIC, plane_sweep
from worldgen.evaluation.metrics.image import depth_errors, psnr, ssim
from worldgen.evaluation.metrics.perceptual import flip_error, has_flip, sharpness
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling, generate_views

ONE, FULL = "one call", "full sample"  # how a model is sampled, as tables name it
CLIPS_AT_ONCE = 16  # of 64 px


@as_value
@dataclass(frozen=True)
class Prediction:
    """What one method predicts for b scenes; None for what it does not predict.

    rgb, depth   [b, t, ...] of the targets
    given_depth  [b, k, 1, h, w] of the given images
    looked_up    [b, t, 1, h, w] in 0..1, the share of each color that comes from a look-up in the given images
    """

    rgb: Float[Tensor, "b t 3 h w"] | None = None
    depth: Float[Tensor, "b t 1 h w"] | None = None
    given_depth: Float[Tensor, "b k 1 h w"] | None = None
    looked_up: Float[Tensor, "b t 1 h w"] | None = None

    def by_view(self) -> "Prediction":
        """What is predicted of one clip's targets [1, t] as predictions of t clips of one target each."""
        parts = (self.rgb, self.depth, self.looked_up)
        rgb, depth, looked_up = (None if part is None else part[0][:, None] for part in parts)
        return Prediction(rgb, depth, looked_up=looked_up)


@as_value
@dataclass(frozen=True)
class Problem:
    """Known frames [b, k] and targets [b, t], which hold the truth.

    frame_ids  numbers of a clip's frames, known ones first
    frames     how many frames a clip has in all: noise belongs to the scene and the frame, so a target starts from the
               same noise whatever is given
    """

    known: Clip
    targets: Clip
    frame_ids: tuple[int, ...]
    frames: int

    def by_view(self, most: int) -> "Problem":
        """Each of the t targets of one clip by itself, [t, 1], with the nearest known frames [t, k], nearest first.

        most  known frames of each target
        """
        known, targets = self.known[0], self.targets[0]
        count = min(len(known), most)
        nearest = torch.stack(
            [
                squared_distances(targets.cameras[i], known.cameras).argsort(stable=True)[:count]
                for i in range(len(targets))
            ]
        )
        chosen = Clip(known.rgb[nearest], known.depth[nearest], known.cameras[nearest])
        return Problem(chosen, single_views(self.targets), tuple(range(count + 1)), count + 1)


def single_views(clip: Clip) -> Clip:
    """The t frames of one clip [1, t] as clips [t, 1]."""
    frames = clip[0]
    return Clip(frames.rgb[:, None], frames.depth[:, None], frames.cameras[:, None])


def of_model(method: str) -> bool:
    """Whether a method's name is that of a model and how it is sampled: "one call", "full sample: other, enlarged"."""
    return method.startswith((ONE, FULL))


def first_call(methods: Iterable[str]) -> str:
    """The name of the first model's one call among those of methods in a report's order."""
    return next(name for name in methods if name.startswith(ONE))


def clips_at_once(size_px: int) -> int:
    """How many clips of a size a model predicts together, so that large ones fit into memory."""
    return max(1, min(CLIPS_AT_ONCE, CLIPS_AT_ONCE * 64**2 // size_px**2))


def predict(
    model: WorldModel, problem: Problem, sampling: Sampling, on_step: Callable[[], None]
) -> tuple[Prediction, float]:
    """A model's prediction from images and cameras alone, and the seconds a step took for each clip.

    The scale is that of the cameras; where all are in one place, it is taken from the first image's true depth, so
    that depths have a unit at all (`worldgen.core.normalization.scene_scale`). A model that cannot make frames of the
    targets' size is given smaller images, and what it predicts is enlarged (`worldgen.evaluation.enlarging`).
    """
    known, targets = problem.known, problem.targets
    given, clips = len(known), len(known.rgb)
    height_px = size_made(model, known.cameras.hw[0])
    at_once = clips_at_once(height_px)
    everything = Clip(
        torch.cat([known.rgb, targets.rgb], 1),
        torch.cat([known.depth, targets.depth], 1),
        Cameras.cat([known.cameras, targets.cameras]),
    )
    scale = scene_scale(everything)
    parts, start = [], time.perf_counter()
    for first in range(0, clips, at_once):
        some = slice(first, first + at_once)
        rgb, cameras = shrunk(known.rgb[some], known.cameras[some], height_px)
        images = Clip(rgb, torch.zeros_like(rgb[:, :, :1]), cameras)
        wanted = targets.cameras[some].resized(cameras.hw)
        ids = [first * problem.frames + i for i in problem.frame_ids]
        made = generate_views(model, images, wanted, scale[some], sampling, ids, on_step).to("cpu")
        parts.append(enlarged(made, everything.cameras[some]))
    seconds = (time.perf_counter() - start) / (clips * sampling.calls(model))
    rgb, depth = torch.cat([part.rgb for part in parts]), torch.cat([part.depth for part in parts])
    looked_up = None
    if all(LOOKED_UP in part.others for part in parts):
        looked_up = torch.cat([part.others[LOOKED_UP] for part in parts])[:, given:]
    return Prediction(rgb[:, given:], depth[:, given:], depth[:, :given], looked_up), seconds


def baseline_predictions(
    known: Clip, targets: Clip, true_depth: bool = True, on_view: Callable[[], None] = lambda: None
) -> dict[str, Prediction]:
    """Every baseline's prediction; without true depth only those that need none. The slow one, a plane sweep, calls
    `on_view` after each target."""
    images = {name: Prediction(baseline(known, targets.cameras)) for name, baseline in BLIND.items()}
    for geometric in GEOMETRIC:
        found = (
            geometric(known, targets.cameras, on_view)
            if geometric is plane_sweep
            else geometric(known, targets.cameras)
        )
        images |= {name: _of_views(views) for name, views in found.items()}
    if not true_depth:
        return images
    images |= {name: _of_views(oracle(known, targets)) for name, oracle in ORACLES.items()}
    maps = {"constant depth": constant_depth, "row depth": row_depth}
    depths = {name: Prediction(None, f(known, len(targets)), f(known, len(known))) for name, f in maps.items()}
    return images | depths


def _of_views(views: Views) -> Prediction:
    return Prediction(views.rgb, views.depth, looked_up=views.looked_up)


def scores(
    prediction: Prediction, known: Clip, targets: Clip, visible: Bool[Tensor, "b t 1 h w"] | None = None
) -> Iterator[tuple[str, Float[Tensor, "b"]]]:
    """The figures of one prediction by name, each the mean over a scene's images (of those that have it).

    visible    pixels visible to some given camera too; None where only the true images are known, no depth
    sharpness  over these, or over all where they are not known
    flip       where FLIP is installed
    agreement  of the given and the predicted images, by the predicted depth (`geometry.image.multiview`; a still scene)
    """
    if prediction.rgb is not None:
        yield "psnr", psnr(prediction.rgb, targets.rgb).mean(-1)
        if visible is not None:
            yield "psnr_seen", psnr(prediction.rgb, targets.rgb, visible).nanmean(-1)
            yield "psnr_unseen", psnr(prediction.rgb, targets.rgb, ~visible).nanmean(-1)
        yield "ssim", ssim(prediction.rgb, targets.rgb).mean(-1)
        yield "sharpness", sharpness(prediction.rgb, targets.rgb, visible)
        if has_flip():
            yield "flip", flip_error(prediction.rgb, targets.rgb).mean(-1)
    if prediction.looked_up is not None:
        yield "looked_up", prediction.looked_up.mean((-4, -3, -2, -1))
    if visible is None:
        return
    for prefix, depth, truth in (("", prediction.depth, targets), ("given_", prediction.given_depth, known)):
        if depth is not None:
            abs_rel, delta = depth_errors(depth, truth.depth)
            yield prefix + "abs_rel", abs_rel.nanmean(-1)
            yield prefix + "delta", delta.nanmean(-1)
    if prediction.rgb is not None and prediction.depth is not None and prediction.given_depth is not None:
        clip = Clip(
            torch.cat([known.rgb, prediction.rgb], 1),
            torch.cat([prediction.given_depth, prediction.depth], 1),
            Cameras.cat([known.cameras, targets.cameras]),
        )
        scale = scene_scale(clip)
        inverse = scale[:, None, None, None, None] / clip.depth
        yield "agreement", agreement(clip.rgb, inverse, clip.cameras.scaled(1 / scale[:, None]))
