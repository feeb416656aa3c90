"""Contact sheets of an evaluation: the truth, what methods predict, and depth side by side."""

from collections.abc import Mapping

import torch
from torch import Tensor

from geometry.shapes import Float
from worldgen.core.clip import Clip
from worldgen.evaluation.baselines import BACKWARD_ORACLE, ORACLE
from worldgen.evaluation.predictions import Prediction, first_call, of_model
from worldgen.runtime.contact_sheet import depth_image, grid

_ROWS = 6

Columns = dict[str, Float[Tensor, "b _ 3 h w"]]  # images of each column, one scene or view a row


def scene_columns(
    predictions: Mapping[str, Prediction], known: Clip, targets: Clip, near_far_m: tuple[float, float]
) -> Columns:
    """The first scenes: what is given, the truth, models, the plane sweep, oracles, the nearest image; then depths."""
    first = slice(0, _ROWS)
    models = [name for name in predictions if of_model(name)]
    shown = [name for name in (*models, "plane sweep", ORACLE, BACKWARD_ORACLE, "copy nearest") if name in predictions]
    depths = {"true depth": targets.depth, "depth of one call": predictions[first_call(predictions)].depth}
    images = {"given": known.rgb, "truth": targets.rgb} | {name: predictions[name].rgb for name in shown}
    return {name: rgb[first] for name, rgb in images.items() if rgb is not None} | {
        name: torch.stack([torch.stack([depth_image(d, *near_far_m) for d in clip]) for clip in depth[first]])
        for name, depth in depths.items()
        if depth is not None
    }


def view_columns(predictions: Mapping[str, Prediction], known: Clip, targets: Clip) -> Columns:
    """The first target views [t, 1], one a row: the truth, every method's image, and one of the given images [1, k]."""
    first = slice(0, _ROWS)
    images = {"truth": targets.rgb} | {name: prediction.rgb for name, prediction in predictions.items()}
    columns = {name: rgb[first] for name, rgb in images.items() if rgb is not None}
    rows = len(columns["truth"])
    given = known.rgb[0, torch.arange(rows) % len(known)][:, None]
    return {"given, in their order": given} | columns


def column_names(columns: Columns) -> tuple[str, ...]:
    """Each column's name with how many images wide it is."""
    return tuple(f"{name} ({images.shape[1]})" for name, images in columns.items())


def sheet(columns: Columns) -> Float[Tensor, "3 height width"]:
    """The columns as one image, a scene or view a row."""
    rows = min(len(images) for images in columns.values())
    return grid([[image for images in columns.values() for image in images[b]] for b in range(rows)])
