"""Closed-form primitives: where a ray enters each, its normal there, and how low a rotated one reaches.

Each shape is a unit solid in its own frame, stretched by `size` (half extents): ball |p| <= 1; box |x|, |y|, |z| <= 1;
cylinder and cone of radius 1 about z, |z| <= 1, the cone's apex at z = 1. Rays are o + t d with d of any length, so t
survives the change of frame and is whatever the caller's d made it (z-depth, when d has camera z = 1).
"""

from enum import IntEnum

import torch
from torch import Tensor

_TINY = 1e-9


class Shape(IntEnum):
    """Kinds of primitive; NONE is an empty slot."""

    NONE = -1
    BALL = 0
    BOX = 1
    CYLINDER = 2
    CONE = 3


def _interval(a: Tensor, half_b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Roots of a t^2 + 2 half_b t + c = 0 in rising order, and whether they are real."""
    a = torch.where(a.abs() < _TINY, torch.full_like(a, _TINY), a)
    discriminant = half_b * half_b - a * c
    # The form without cancellation: the larger root by the sum, the smaller by Vieta's product c / a.
    q = -(half_b + torch.copysign(discriminant.clamp_min(0).sqrt(), half_b))
    first, second = q / a, c / torch.where(q.abs() < _TINY, torch.full_like(q, _TINY), q)
    return torch.minimum(first, second), torch.maximum(first, second), discriminant > 0


def _slab(o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave -1 <= x <= 1 along one axis."""
    inverse = 1 / torch.where(d.abs() < _TINY, torch.full_like(d, _TINY), d)
    first, second = (-1 - o) * inverse, (1 - o) * inverse
    return torch.minimum(first, second), torch.maximum(first, second)


def _enter(near: Tensor, far: Tensor, hit: Tensor) -> Tensor:
    """The entry of an interval that lies ahead of the ray's start; inf where there is none."""
    return torch.where(hit & (near < far) & (near > 0), near, torch.inf)


def _ball(o: tuple[Tensor, ...], d: tuple[Tensor, ...]) -> Tensor:
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    half_b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
    c = o[0] * o[0] + o[1] * o[1] + o[2] * o[2] - 1
    return _enter(*_interval(a, half_b, c))


def _box(o: tuple[Tensor, ...], d: tuple[Tensor, ...]) -> Tensor:
    slabs = [_slab(o[axis], d[axis]) for axis in range(3)]
    near = torch.maximum(torch.maximum(slabs[0][0], slabs[1][0]), slabs[2][0])
    far = torch.minimum(torch.minimum(slabs[0][1], slabs[1][1]), slabs[2][1])
    return _enter(near, far, near < far)


def _cylinder(o: tuple[Tensor, ...], d: tuple[Tensor, ...]) -> Tensor:
    side_near, side_far, hit = _interval(
        d[0] * d[0] + d[1] * d[1], o[0] * d[0] + o[1] * d[1], o[0] * o[0] + o[1] * o[1] - 1
    )
    cap_near, cap_far = _slab(o[2], d[2])
    return _enter(torch.maximum(side_near, cap_near), torch.minimum(side_far, cap_far), hit)


def _cone(o: tuple[Tensor, ...], d: tuple[Tensor, ...]) -> Tensor:
    # Side: x^2 + y^2 = ((1 - z) / 2)^2 with |z| <= 1; base: z = -1 with x^2 + y^2 <= 1.
    half_height, slope = (1 - o[2]) / 2, -d[2] / 2
    first, second, hit = _interval(
        d[0] * d[0] + d[1] * d[1] - slope * slope,
        o[0] * d[0] + o[1] * d[1] - half_height * slope,
        o[0] * o[0] + o[1] * o[1] - half_height * half_height,
    )
    entry = torch.full_like(first, torch.inf)
    for t in (first, second):
        on_side = hit & (t > 0) & ((o[2] + t * d[2]).abs() <= 1)
        entry = torch.where(on_side & (t < entry), t, entry)
    base = (-1 - o[2]) / torch.where(d[2].abs() < _TINY, torch.full_like(d[2], _TINY), d[2])
    x, y = o[0] + base * d[0], o[1] + base * d[1]
    return torch.where((base > 0) & (x * x + y * y <= 1) & (base < entry), base, entry)


_ENTER = {Shape.BALL: _ball, Shape.BOX: _box, Shape.CYLINDER: _cylinder, Shape.CONE: _cone}


def enter(shape: Shape, origin: Tensor, direction: Tensor) -> Tensor:
    """The ray parameter t > 0 at which rays enter a unit shape from outside; inf where they miss.

    origin and direction are [3, ...] in the shape's frame and broadcast; the result has their shape without the 3.
    """
    return _ENTER[shape](origin.unbind(0), direction.unbind(0))


def unit_normal(kind: Tensor, point: Tensor) -> Tensor:
    """Outward directions [3, ...] (any length) of unit shapes of the given kinds [...] at surface points [3, ...]."""
    x, y, z = point.unbind(0)
    zero = torch.zeros_like(x)
    across = (x * x + y * y).sqrt()
    largest = point.abs().amax(0)
    on_cap = z.abs() >= across
    on_base = z < -1 + 1e-3
    upright = (kind == Shape.CYLINDER) | (kind == Shape.CONE)
    flat = torch.where(kind == Shape.CYLINDER, on_cap, on_base)
    lean = torch.where(kind == Shape.CONE, across / 2, zero)
    components = []
    for axis, along in enumerate((x, y, z)):
        side = lean if axis == 2 else along
        cap = z.sign() if axis == 2 else zero
        face = torch.where(along.abs() == largest, along.sign(), zero)
        smooth = torch.where(upright, torch.where(flat, cap, side), along)
        components.append(torch.where(kind == Shape.BOX, face, smooth))
    return torch.stack(components)


def reach_below(kind: Tensor, rotation: Tensor, size: Tensor) -> Tensor:
    """How far shapes [*b] reach below their centre, for `rotation` [*b, 3, 3] (world from shape) and size [*b, 3].

    This is the support function along -z, so a centre at this height rests on the ground z = 0.
    """
    row = rotation[..., 2, :] * size
    ball = row.norm(dim=-1)
    box = row.abs().sum(-1)
    disc = row[..., :2].norm(dim=-1)
    cylinder = disc + row[..., 2].abs()
    cone = torch.maximum(-row[..., 2], row[..., 2] + disc)
    reach = torch.where(kind == Shape.BOX, box, ball)
    reach = torch.where(kind == Shape.CYLINDER, cylinder, reach)
    return torch.where(kind == Shape.CONE, cone, reach)
