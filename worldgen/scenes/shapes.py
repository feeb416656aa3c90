"""Closed-form primitives: what they are and how far they reach. `worldgen.scenes.rendering` traces rays against them.

Each shape is a unit solid in its own frame, stretched by `size` (half extents, metres). Some have a `form`, two numbers
without units:

ball          |p| <= 1
box           |x|, |y|, |z| <= 1
cylinder      radius 1 about z, |z| <= 1
cone          the same with its apex at z = 1
capsule       a cylinder whose ends |z| > form_0 are half ellipsoids (half balls, if size_z (1 - form_0) is the radius)
torus         about z: a tube of radius form_0 around a circle of radius 1 - form_0 (in the plane z = 0); |z| <= 1
superquadric  (|x|^(2/e) + |y|^(2/e))^(e/n) + |z|^(2/n) <= 1 with n, e = form, both in (0, 2] (Barr 1981): from boxes
              (0.1) over balls (1) to octahedra (2), all convex
plane         z <= 0: an endless plane seen from above
mesh          triangles of its own, kept in the scene; a height field is one
"""

import math
from enum import IntEnum

import torch
from torch import Tensor


class Shape(IntEnum):
    """Kinds of primitive; NONE is an empty slot."""

    NONE = -1
    BALL = 0
    BOX = 1
    CYLINDER = 2
    CONE = 3
    CAPSULE = 4
    TORUS = 5
    SUPERQUADRIC = 6
    PLANE = 7
    MESH = 8


def bounding_radius(kind: Tensor, size: Tensor, form: Tensor) -> Tensor:
    """Radius [*b] of a ball about the center that contains shapes of half extents size [*b, 3]; inf for planes.

    A mesh is assumed to lie within its half extents.
    """
    ball = size.amax(-1)
    corner = size.norm(dim=-1)
    rim = torch.hypot(size[..., :2].amax(-1), size[..., 2])
    upright = (kind == Shape.CYLINDER) | (kind == Shape.CONE)
    radius = torch.where(kind == Shape.BALL, ball, torch.where(upright, rim, corner))
    wide = size[..., :2].amax(-1)
    torus = (1 - form[..., 0]) * wide + torch.maximum(form[..., 0] * wide, size[..., 2])
    radius = torch.where(kind == Shape.TORUS, torch.minimum(torus, corner), radius)
    return torch.where(kind == Shape.PLANE, math.inf, torch.where(kind == Shape.NONE, -math.inf, radius))


def reach_below(kind: Tensor, rotation: Tensor, size: Tensor, form: Tensor | None = None) -> Tensor:
    """How far shapes [*b] reach below their center, for `rotation` [*b, 3, 3] (world from shape) and size [*b, 3].

    This is the support function along -z, so a shape whose center is at this height rests on the ground z = 0. For
    superquadrics and meshes it is that of the bounding box.
    """
    row = rotation[..., 2, :] * size
    ball = row.norm(dim=-1)
    box = row.abs().sum(-1)
    disc = row[..., :2].norm(dim=-1)
    cylinder = disc + row[..., 2].abs()
    cone = torch.maximum(-row[..., 2], row[..., 2] + disc)
    reach = torch.where((kind == Shape.BALL), ball, box)
    reach = torch.where(kind == Shape.CYLINDER, cylinder, reach)
    reach = torch.where(kind == Shape.CONE, cone, reach)
    if form is None:
        return reach
    straight = form[..., 0]
    ends = straight * row[..., 2].abs() + torch.hypot(disc, (1 - straight) * row[..., 2])
    tube = (1 - straight) * disc + torch.hypot(straight * disc, row[..., 2])
    reach = torch.where(kind == Shape.CAPSULE, ends, reach)
    return torch.where(kind == Shape.TORUS, tube, reach)
