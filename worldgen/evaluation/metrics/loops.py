"""Loop closure: once round a scene from one image, and back to where it was taken."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import rotation_about
from geometry.shapes import Float
from geometry.values import as_value
from worldgen.core.clip import Clip
from worldgen.core.normalization import scene_scale_from_cameras
from worldgen.evaluation.baselines import mean_color, row_mean
from worldgen.evaluation.enlarging import enlarged_rgb, shrunk, size_made
from worldgen.evaluation.metrics.control import RenderedScenes
from worldgen.evaluation.metrics.image import psnr, ssim
from worldgen.evaluation.metrics.intervals import Figures, interval
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling, generate_views
from worldgen.runtime.contact_sheet import grid

STEPS, PREVIOUS = 24, 2  # views of the loop made one by one; how many views before it each is made from
TOGETHER, ONE_BY_ONE = "all views in one call", f"{STEPS} views, each from the {PREVIOUS} before"
_SHEET_SCENES = 4


@as_value
@dataclass(frozen=True)
class Loops:
    """Figures of closed loops over some scenes, by way of making the views (TOGETHER, ONE_BY_ONE) and by method.

    sheet  the first scenes' views
    """

    scenes: int
    methods: dict[str, dict[str, Figures]]
    sheet: Float[Tensor, "3 height width"]


def closed_loop(first: Cameras, views: int) -> Cameras:
    """Cameras [b, 1 + views] turned about the world's vertical axis in even steps from `first` [b] all the way round:
    the last stands exactly where the first does."""
    angle = 2 * math.pi * torch.arange(views + 1) / views
    angle[-1] = 0.0
    turn = torch.eye(4).repeat(views + 1, 1, 1)
    turn[:, :3, :3] = rotation_about(torch.tensor([0.0, 0.0, 1.0]).expand(views + 1, 3), angle)
    whole = Cameras.cat([first[:, None]] * (views + 1))
    return whole.moved(turn)


def once_round(
    model: WorldModel,
    image: Float[Tensor, "b 1 3 h w"],
    cameras: Cameras,
    previous: int | None,
    sampling: Sampling,
    on_step: Callable[[], None] | None = None,
) -> Float[Tensor, "b v 3 h w"]:
    """The views [b, v] of cameras [b, 1 + v] from the image that the first of them took.

    previous  None: all in one call, the image given throughout. Else view by view, each from this many views before it
              (of which the image is one only at the start): what they do not show is forgotten

    A model that cannot make this size makes its own throughout; the views are enlarged in the end.
    """
    views = cameras.shape[1] - 1
    hw = cameras.hw
    image = shrunk(image, cameras[:, :1], size_made(model, hw[0]))[0]
    cameras = cameras.resized((image.shape[-2], image.shape[-1]))
    frames = list(image.unbind(1))
    for start, stop in [(1, views + 1)] if previous is None else [(i, i + 1) for i in range(1, views + 1)]:
        ids = list(range(max(0, start - (previous or start)), start))
        rgb = torch.stack([frames[i] for i in ids], 1)
        known = Clip(rgb, torch.zeros_like(rgb[:, :, :1]), cameras[:, ids])
        targets = cameras[:, start:stop]
        scale = scene_scale_from_cameras(Cameras.cat([known.cameras, targets]))
        numbers = [*ids, *range(start, stop)]
        made = generate_views(model, known, targets, scale, sampling, numbers, on_step).to("cpu")
        frames += list(made.rgb[:, len(ids) :].unbind(1))
    return enlarged_rgb(torch.stack(frames[1:], 1), hw)


def loop_steps(methods: Mapping[str, tuple[WorldModel, Sampling]]) -> int:
    """Sampling steps that `loop_figures` takes."""
    return (1 + STEPS) * sum(sampling.calls(model) for model, sampling in methods.values())


def loop_figures(
    methods: Mapping[str, tuple[WorldModel, Sampling]],
    scenes: RenderedScenes,
    first: Cameras,
    seed: int,
    on_step: Callable[[], None] | None = None,
) -> Loops:
    """Figures of closed loops [b] from the images of cameras `first` [b], by models and how they are sampled.

    revisit_psnr, revisit_ssim  of the last view against the image given, which stands at the same camera
    psnr_quarter, psnr_half     of the views a quarter and half way round against the truth
    The color and the rows of the image itself, beside them, need no model. The sheet's rows, scene by scene: the
    truth, then for each method all views in one call, then for each every third of those made one by one.
    """
    table: dict[str, dict[str, Figures]] = {}
    rows: list[list[list[Tensor]]] = [[] for _ in range(min(len(first), _SHEET_SCENES))]
    frames = min(model.config.frames for model, _ in methods.values())
    for how, views, previous in ((TOGETHER, frames - 1, None), (ONE_BY_ONE, STEPS, PREVIOUS)):
        cameras = closed_loop(first, views)
        truth = scenes.images(cameras)
        image = truth[:, :1]
        known = Clip(image, torch.zeros_like(image[:, :, :1]), cameras[:, :1])
        predictions = {
            name: once_round(model, image, cameras, previous, sampling, on_step)
            for name, (model, sampling) in methods.items()
        }
        blind = {"mean color": mean_color, "row mean": row_mean}
        predictions |= {name: baseline(known, cameras[:, 1:]) for name, baseline in blind.items()}
        table[how] = {name: _figures(rgb, truth[:, 1:], image[:, 0], seed) for name, rgb in predictions.items()}
        shown = [truth] if previous is None else []
        shown += [torch.cat([image, predictions[name]], 1) for name in methods]
        for scene, of_scene in enumerate(rows):
            of_scene += [list(images[scene, :: 1 if previous is None else 3]) for images in shown]
    return Loops(len(first), table, grid([row for of_scene in rows for row in of_scene]))


def _figures(rgb: Tensor, truth: Tensor, image: Tensor, seed: int) -> Figures:
    views = rgb.shape[1]
    quarter, half = round(views / 4) - 1, round(views / 2) - 1
    return {
        "psnr_quarter": interval(psnr(rgb[:, quarter], truth[:, quarter]), seed),
        "psnr_half": interval(psnr(rgb[:, half], truth[:, half]), seed),
        "revisit_psnr": interval(psnr(rgb[:, -1], image), seed),
        "revisit_ssim": interval(ssim(rgb[:, -1], image), seed),
    }
