"""Camera control as figures: every method's recovered poses, beside the floor of recovering them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.shapes import Float
from geometry.trajectory.metrics import trajectory_errors
from geometry.values import as_value
from worldgen.core.clip import Clip
from worldgen.evaluation.metrics.image import FAR_M
from worldgen.evaluation.metrics.intervals import Figures, interval
from worldgen.evaluation.metrics.pose import blurred, find_poses, perturbed, pose_errors
from worldgen.evaluation.predictions import Prediction, of_model
from worldgen.runtime.rng import Stream, normal
from worldgen.scenes.rendering.renderer import render
from worldgen.scenes.scene import Scene

TURN_DEG, SHIFT_M = 2.0, 0.08  # from the truth, where the search on true images begins
NOISE, BLUR_PX = 0.05, 1.0  # of the degraded true images
FLOOR, DEGRADED = "true images (floor)", "true images, blurred and noisy"
_POSED = ("copy nearest",)  # the baseline whose images were taken from a camera known to be another
_DRAWS = 1000  # place of the random directions and noise among a scene's streams, after those of its own cameras


@as_value
@dataclass(frozen=True)
class RenderedScenes:
    """The scenes [b] that a set's clips show, and how they were rendered."""

    scene: Scene
    supersample: int

    def images(self, cameras: Cameras) -> Float[Tensor, "b f 3 h w"]:
        """What cameras [b, f] of the first b scenes see."""
        return render(self.scene[: len(cameras)], cameras, self.supersample).rgb


@dataclass(frozen=True)
class CameraControl:
    """Pose errors by method, over some scenes.

    protocol  of the sums over a trajectory; "" where no cameras move
    """

    scenes: int
    protocol: str
    methods: dict[str, Figures]


def control_figures(
    scenes: RenderedScenes, known: Clip, targets: Clip, predictions: Mapping[str, Prediction], count: int, seed: int
) -> CameraControl:
    """Pose errors of the models' images and of the nearest given image, over the first `count` scenes.

    The search starts at the target camera; on true images, whose figures are its floor, 2 degrees and 0.08 m off.
    rot_deg, trans_m  means over a scene's views, with intervals over scenes
    rot_median_deg, rot_p90_deg  over all views
    rot_err, trans_err, cam_mc  CamI2V's sums over a trajectory that begins at the first given image; scenes whose
                      cameras are all in one place have none
    """
    first = slice(0, count)
    known, targets = known[first], targets[first]
    finite = torch.where(targets.depth.isfinite(), targets.depth, FAR_M).clamp_max(FAR_M)
    reach = finite.flatten(2).median(-1).values
    searches: dict[str, tuple[Tensor, Cameras]] = _true_images(targets, seed)
    for name, prediction in predictions.items():
        if prediction.rgb is not None and (of_model(name) or name in _POSED):
            searches[name] = (prediction.rgb[first], targets.cameras)
    methods, protocol = {}, ""
    for name, (images, start) in searches.items():
        found, _ = find_poses(images, start, scenes.images, reach)
        methods[name], protocol = _figures(found, known.cameras[:, :1], targets.cameras, seed)
    return CameraControl(len(reach), protocol, methods)


def _true_images(targets: Clip, seed: int) -> dict[str, tuple[Tensor, Cameras]]:
    """True images, as they are and degraded, with cameras off theirs in random directions."""
    count, views = targets.cameras.shape

    def draws(place: int, shape: tuple[int, ...]) -> Tensor:
        return torch.stack([normal(Stream.HELD_OUT_SCENES, seed, (b, _DRAWS, place), shape) for b in range(count)])

    off = perturbed(targets.cameras, TURN_DEG, SHIFT_M, draws(0, (views, 2, 3)))
    noise = NOISE * draws(1, tuple(targets.rgb.shape[1:]))
    return {FLOOR: (targets.rgb, off), DEGRADED: ((blurred(targets.rgb, BLUR_PX) + noise).clamp(0, 1), off)}


def _figures(found: Cameras, origin: Cameras, wanted: Cameras, seed: int) -> tuple[Figures, str]:
    rotation, translation = pose_errors(found, wanted)
    paths = [Cameras.cat([origin, cameras]).world_from_camera for cameras in (found, wanted)]
    moves = (paths[1][:, 1:, :3, 3] - paths[1][:, :1, :3, 3]).norm(dim=-1).amax(-1) > 1e-6
    figures: Figures = {
        "rot_deg": interval(rotation.mean(-1), seed),
        "rot_median_deg": round(float(rotation.median()), 5),
        "rot_p90_deg": round(float(rotation.flatten().quantile(0.9)), 5),
        "trans_m": interval(translation.mean(-1), seed),
        "trans_median_m": round(float(translation.median()), 5),
    }
    if not bool(moves.any()):
        return figures, ""
    errors = trajectory_errors(paths[0][moves], paths[1][moves])
    figures |= {
        "rot_err": interval(errors.rotation, seed),
        "trans_err": interval(errors.translation, seed),
        "cam_mc": interval(errors.cam_mc, seed),
    }
    return figures, errors.protocol
