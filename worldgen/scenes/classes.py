"""Semantic classes of everything in a scene, and their colors in a layout map."""

from enum import IntEnum

import torch
from torch import Tensor

from geometry.shapes import Float, Int


class SemanticClass(IntEnum):
    """Semantic classes, as values of a clip's `classes` map; checkpoints depend on their order."""

    SKY = -1
    GROUND = 0
    OBJECT = 1
    WALL = 2
    FLOOR = 3
    FURNITURE = 4
    ROAD = 5
    LANE_LINE = 6
    SIDEWALK = 7
    BUILDING = 8
    VEGETATION = 9
    POLE = 10
    CAR = 11
    TRUCK = 12
    PEDESTRIAN = 13
    TRAFFIC_LIGHT = 14
    SIGN = 15
    TABLE = 16
    CHAIR = 17
    SOFA = 18
    BED = 19
    SHELF = 20
    LAMP = 21
    RUG = 22
    PICTURE = 23


_COLORS = {
    SemanticClass.GROUND: (0.55, 0.50, 0.42),
    SemanticClass.OBJECT: (0.90, 0.45, 0.10),
    SemanticClass.WALL: (0.70, 0.68, 0.80),
    SemanticClass.FLOOR: (0.45, 0.36, 0.30),
    SemanticClass.FURNITURE: (0.80, 0.65, 0.20),
    SemanticClass.ROAD: (0.30, 0.25, 0.32),
    SemanticClass.LANE_LINE: (1.00, 1.00, 1.00),
    SemanticClass.SIDEWALK: (0.85, 0.40, 0.70),
    SemanticClass.BUILDING: (0.40, 0.42, 0.48),
    SemanticClass.VEGETATION: (0.30, 0.60, 0.20),
    SemanticClass.POLE: (0.75, 0.75, 0.72),
    SemanticClass.CAR: (0.10, 0.20, 0.85),
    SemanticClass.TRUCK: (0.10, 0.55, 0.75),
    SemanticClass.PEDESTRIAN: (0.90, 0.10, 0.20),
    SemanticClass.TRAFFIC_LIGHT: (0.98, 0.75, 0.10),
    SemanticClass.SIGN: (0.95, 0.95, 0.20),
    SemanticClass.TABLE: (0.60, 0.30, 0.10),
    SemanticClass.CHAIR: (0.85, 0.25, 0.55),
    SemanticClass.SOFA: (0.20, 0.65, 0.60),
    SemanticClass.BED: (0.50, 0.20, 0.75),
    SemanticClass.SHELF: (0.35, 0.15, 0.05),
    SemanticClass.LAMP: (1.00, 0.90, 0.50),
    SemanticClass.RUG: (0.60, 0.10, 0.30),
    SemanticClass.PICTURE: (0.15, 0.85, 0.75),
    SemanticClass.SKY: (0.35, 0.60, 0.90),
}


def class_colors(classes: Int[Tensor, "*b 1 h w"]) -> Float[Tensor, "*b 3 h w"]:
    """The color of each pixel's class.

    Args:
        classes: [*b, 1, h, w] `SemanticClass`.

    Returns:
        [*b, 3, h, w] sRGB in 0..1.
    """
    # The sky's -1 indexes the last row.
    table = torch.tensor([_COLORS[kind] for kind in sorted(SemanticClass, key=lambda kind: kind % len(SemanticClass))])
    return table.to(classes.device)[classes.squeeze(-3)].movedim(-1, -3)
