"""Scores of the views that an orbit rendered for the held-out images of a capture."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from worldgen.core.clip import Clip
from worldgen.core.world import HeldOut, World
from worldgen.evaluation.baselines import copy_nearest
from worldgen.evaluation.metrics.image import psnr, ssim
from worldgen.runtime.manifest import tried


def scored(world: World) -> World:
    """The world with PSNR and SSIM of its held-out views, beside those of a copy of the nearest given image.

    Args:
        world: As `worldgen.orbit` returns it.

    Returns:
        The same with `held_out.scores`, which its manifest keeps too; unchanged where nothing was held out. Where they
        cannot be computed, a note and `World.failed` say why.
    """
    if world.held_out is None:
        return world
    held_out = world.held_out
    scores, why = tried("held-out views are not scored", lambda: _scores(world, held_out))
    if scores is None:
        return replace(world, failed=world.failed | {"held_out scores": why})
    return replace(world, held_out=replace(held_out, scores=scores), manifest=world.manifest | {"held_out": scores})


def _scores(world: World, held_out: HeldOut) -> dict[str, Any]:
    rendered, truth, given = held_out.rendered, held_out.truth, world.given
    known = Clip(given.rgb[None], given.depth[None], given.cameras[None])
    copied = copy_nearest(known, truth.cameras[None])[0]
    table = {
        "names": list(held_out.names),
        "psnr_db": psnr(rendered.rgb, truth.rgb),
        "ssim": ssim(rendered.rgb, truth.rgb),
        "copy_nearest_psnr_db": psnr(copied, truth.rgb),
        "copy_nearest_ssim": ssim(copied, truth.rgb),
    }
    lists = {k: [round(float(x), 4) for x in v] if isinstance(v, Tensor) else v for k, v in table.items()}
    means = {f"mean_{k}": round(sum(v) / len(v), 4) for k, v in lists.items() if k != "names"}
    return lists | means
