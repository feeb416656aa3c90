"""Scores of the views that an orbit rendered for the held-out images of a capture."""

from dataclasses import replace

from torch import Tensor

from worldgen.core.clip import Clip
from worldgen.core.world import World
from worldgen.evaluation.baselines import copy_nearest
from worldgen.evaluation.metrics.image import psnr, ssim


def scored(world: World) -> World:
    """The world with PSNR and SSIM of its held-out views, beside those of a copy of the nearest given image.

    Args:
        world: As `worldgen.orbit` returns it.

    Returns:
        The same with `held_out.scores`, which its manifest keeps too; unchanged where nothing was held out.
    """
    if world.held_out is None:
        return world
    rendered, truth, given = world.held_out.rendered, world.held_out.truth, world.given
    known = Clip(given.rgb[None], given.depth[None], given.cameras[None])
    copied = copy_nearest(known, truth.cameras[None])[0]
    table = {
        "names": list(world.held_out.names),
        "psnr_db": psnr(rendered.rgb, truth.rgb),
        "ssim": ssim(rendered.rgb, truth.rgb),
        "copy_nearest_psnr_db": psnr(copied, truth.rgb),
        "copy_nearest_ssim": ssim(copied, truth.rgb),
    }
    lists = {k: [round(float(x), 4) for x in v] if isinstance(v, Tensor) else v for k, v in table.items()}
    means = {f"mean_{k}": round(sum(v) / len(v), 4) for k, v in lists.items() if k != "names"}
    scores = lists | means
    return replace(
        world, held_out=replace(world.held_out, scores=scores), manifest=world.manifest | {"held_out": scores}
    )
