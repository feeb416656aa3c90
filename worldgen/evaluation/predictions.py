"""What a method says about scenes, where it comes from, and how good it is."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from geometry.camera.cameras import Cameras
from geometry.image.multiview import agreement
from geometry.shapes import Bool, Float
from worldgen.core.clip import Clip
from worldgen.core.normalization import scene_scale
from worldgen.evaluation.baselines import BLIND, ORACLES, constant_depth, row_depth
from worldgen.evaluation.metrics.image import depth_errors, psnr, ssim
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling, generate_views

ONE, FULL = "one call", "full sample"
CLIPS_AT_ONCE = 16


@dataclass(frozen=True)
class Prediction:
    """What one method says about b scenes; None where it has no opinion.

    rgb, depth   [b, t, ...] of the targets
    given_depth  [b, k, 1, h, w] of the given images
    """

    rgb: Float[torch.Tensor, "b t 3 h w"] | None = None
    depth: Float[torch.Tensor, "b t 1 h w"] | None = None
    given_depth: Float[torch.Tensor, "b k 1 h w"] | None = None


def generated(
    model: WorldModel,
    known: Clip,
    targets: Clip,
    sampling: Sampling,
    frame_ids: tuple[list[int], int],
    on_step: Callable[[], None],
) -> tuple[Prediction, float]:
    """A model's answer from images and cameras alone, and the seconds a step took for each clip.

    frame_ids  numbers of a clip's frames, known ones first, and how many frames a clip has in all: noise belongs to
               the scene and the frame, so a target starts from the same whatever is given

    The scale is that of the cameras; where all are in one place, it is taken from the first image's true depth, so
    that depths have a unit at all (`worldgen.core.normalization.scene_scale`).
    """
    given, clips = len(known), len(known.rgb)
    everything = Clip(
        torch.cat([known.rgb, targets.rgb], 1),
        torch.cat([known.depth, targets.depth], 1),
        Cameras.cat([known.cameras, targets.cameras]),
    )
    scale = scene_scale(everything)
    numbers, frames = frame_ids
    parts, start = [], time.perf_counter()
    for first in range(0, clips, CLIPS_AT_ONCE):
        some = slice(first, first + CLIPS_AT_ONCE)
        images = Clip(known.rgb[some], torch.zeros_like(known.depth[some]), known.cameras[some])
        ids = [first * frames + i for i in numbers]
        parts.append(
            generate_views(model, images, targets.cameras[some], scale[some], sampling, ids, on_step).to("cpu")
        )
    seconds = (time.perf_counter() - start) / (clips * sampling.steps)
    rgb, depth = torch.cat([part.rgb for part in parts]), torch.cat([part.depth for part in parts])
    return Prediction(rgb[:, given:], depth[:, given:], depth[:, :given]), seconds


def baseline_predictions(known: Clip, targets: Clip, true_depth: bool = True) -> dict[str, Prediction]:
    """Every baseline's answer; without true depth only those that need none."""
    images = {name: Prediction(baseline(known, targets.cameras)) for name, baseline in BLIND.items()}
    if not true_depth:
        return images
    images |= {name: Prediction(oracle(known, targets)) for name, oracle in ORACLES.items()}
    maps = {"constant depth": constant_depth, "row depth": row_depth}
    depths = {name: Prediction(None, f(known, len(targets)), f(known, len(known))) for name, f in maps.items()}
    return images | depths


def scores(
    answer: Prediction, known: Clip, targets: Clip, visible: Bool[torch.Tensor, "b t 1 h w"]
) -> Iterator[tuple[str, Float[torch.Tensor, "b"]]]:
    """The figures of one answer, each the mean over a scene's images (of those that have it).

    agreement  of the given images and the answer's, by the answer's own depth (`geometry.image.multiview`; a still
               scene)
    """
    if answer.rgb is not None:
        yield "psnr", psnr(answer.rgb, targets.rgb).mean(-1)
        yield "psnr_seen", psnr(answer.rgb, targets.rgb, visible).nanmean(-1)
        yield "psnr_unseen", psnr(answer.rgb, targets.rgb, ~visible).nanmean(-1)
        yield "ssim", ssim(answer.rgb, targets.rgb).mean(-1)
    for prefix, depth, truth in (("", answer.depth, targets), ("given_", answer.given_depth, known)):
        if depth is not None:
            abs_rel, delta = depth_errors(depth, truth.depth)
            yield prefix + "abs_rel", abs_rel.nanmean(-1)
            yield prefix + "delta", delta.nanmean(-1)
    if answer.rgb is not None and answer.depth is not None and answer.given_depth is not None:
        clip = Clip(
            torch.cat([known.rgb, answer.rgb], 1),
            torch.cat([answer.given_depth, answer.depth], 1),
            Cameras.cat([known.cameras, targets.cameras]),
        )
        scale = scene_scale(clip)
        inverse = scale[:, None, None, None, None] / clip.depth
        yield "agreement", agreement(clip.rgb, inverse, clip.cameras.scaled(1 / scale[:, None]))
