"""Where a ray enters each primitive (`worldgen.scenes.shapes`), and its normal there.

Rays are o + t d with d of any length, so t survives the change of frame and is whatever the caller's d made it
(z-depth, when d has camera z = 1). Solids are seen from outside only: a ray that starts inside one does not hit it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from worldgen.scenes.shapes import Shape

_TINY = 1e-9
_NEWTON_STEPS = 16
_MARCH_STEPS = 64


Vector = tuple[Tensor, Tensor, Tensor]


def _nonzero(x: Tensor) -> Tensor:
    return torch.where(x.abs() < _TINY, torch.full_like(x, _TINY), x)


def _dot(a: Vector, b: Vector) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _interval(a: Tensor, half_b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Roots of a t^2 + 2 half_b t + c = 0 in rising order, and whether they are real."""
    a = _nonzero(a)
    discriminant = half_b * half_b - a * c
    # The form without cancellation: the larger root by the sum, the smaller by Vieta's product c / a.
    q = -(half_b + torch.copysign(discriminant.clamp_min(0).sqrt(), half_b))
    first, second = q / a, c / _nonzero(q)
    return torch.minimum(first, second), torch.maximum(first, second), discriminant > 0


def _slab(o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave -1 <= x <= 1 along one axis."""
    inverse = 1 / _nonzero(d)
    first, second = (-1 - o) * inverse, (1 - o) * inverse
    return torch.minimum(first, second), torch.maximum(first, second)


def _enter(near: Tensor, far: Tensor, hit: Tensor) -> Tensor:
    """The entry of an interval that lies ahead of the ray's start; inf where there is none."""
    return torch.where(hit & (near < far) & (near > 0), near, torch.inf)


def _ball(o: Vector, d: Vector, form: Tensor) -> Tensor:
    return _enter(*_interval(_dot(d, d), _dot(o, d), _dot(o, o) - 1))


def _box_interval(o: Vector, d: Vector) -> tuple[Tensor, Tensor]:
    slabs = [_slab(o[axis], d[axis]) for axis in range(3)]
    near = torch.maximum(torch.maximum(slabs[0][0], slabs[1][0]), slabs[2][0])
    far = torch.minimum(torch.minimum(slabs[0][1], slabs[1][1]), slabs[2][1])
    return near, far


def _box(o: Vector, d: Vector, form: Tensor) -> Tensor:
    near, far = _box_interval(o, d)
    return _enter(near, far, near < far)


def _cylinder(o: Vector, d: Vector, form: Tensor) -> Tensor:
    side_near, side_far, hit = _interval(
        d[0] * d[0] + d[1] * d[1], o[0] * d[0] + o[1] * d[1], o[0] * o[0] + o[1] * o[1] - 1
    )
    cap_near, cap_far = _slab(o[2], d[2])
    return _enter(torch.maximum(side_near, cap_near), torch.minimum(side_far, cap_far), hit)


def _cone(o: Vector, d: Vector, form: Tensor) -> Tensor:
    # Side: x^2 + y^2 = ((1 - z) / 2)^2 with |z| <= 1; base: z = -1 with x^2 + y^2 <= 1.
    half_height, slope = (1 - o[2]) / 2, -d[2] / 2
    first, second, hit = _interval(
        d[0] * d[0] + d[1] * d[1] - slope * slope,
        o[0] * d[0] + o[1] * d[1] - half_height * slope,
        o[0] * o[0] + o[1] * o[1] - half_height * half_height,
    )
    base = (-1 - o[2]) / _nonzero(d[2])
    x, y = o[0] + base * d[0], o[1] + base * d[1]
    crossings = [torch.where((x * x + y * y <= 1), base, torch.inf)]
    crossings += [torch.where(hit & ((o[2] + t * d[2]).abs() <= 1), t, torch.inf) for t in (first, second)]
    # The cone is convex: its two crossings are entry and exit, and a start between them is inside.
    behind = torch.stack([torch.where(t > 0, torch.inf, t) for t in crossings]).amin(0)
    entry = torch.minimum(torch.minimum(crossings[0], crossings[1]), crossings[2])
    return torch.where((entry > 0) & behind.isinf(), entry, torch.inf)


def _capsule(o: Vector, d: Vector, form: Tensor) -> Tensor:
    straight = form[0]
    side_near, side_far, hit = _interval(
        d[0] * d[0] + d[1] * d[1], o[0] * d[0] + o[1] * d[1], o[0] * o[0] + o[1] * o[1] - 1
    )
    inverse = straight / _nonzero(d[2])
    middle, reach = -o[2] / _nonzero(d[2]), inverse.abs()
    near, far = torch.maximum(side_near, middle - reach), torch.minimum(side_far, middle + reach)
    through = hit & (near < far)
    near, far = torch.where(through, near, torch.inf), torch.where(through, far, -torch.inf)
    # The convex union of the straight part and two ellipsoids spans from the first entry to the last exit.
    stretch = 1 / (1 - straight)
    for end in (-1, 1):
        oe, de = (o[0], o[1], (o[2] - end * straight) * stretch), (d[0], d[1], d[2] * stretch)
        first, last, touched = _interval(_dot(de, de), _dot(oe, de), _dot(oe, oe) - 1)
        near = torch.where(touched, torch.minimum(near, first), near)
        far = torch.where(touched, torch.maximum(far, last), far)
    return _enter(near, far, near < far)


def _superquadric(o: Vector, d: Vector, form: Tensor) -> Tensor:
    """Newton's method from the bounding box inwards.

    F = ((|x|^(2/e) + |y|^(2/e))^(e/n) + |z|^(2/n))^(n/2) is a norm for n, e in (0, 2], so along a ray it is convex: the
    steps from outside never pass the entry, and a slope that is not falling means that the ray has missed.
    """
    polar, equatorial = form[0], form[1]
    near, far = _box_interval(o, d)
    t = near.clamp_min(0)
    alive = (near < far) & (far > 0)
    value = near
    for step in range(_NEWTON_STEPS):
        x, y, z = ((o[axis] + t * d[axis]).abs().clamp_min(1e-6) for axis in range(3))
        ring = x ** (2 / equatorial) + y ** (2 / equatorial)
        total = ring ** (equatorial / polar) + z ** (2 / polar)
        value = total ** (polar / 2)
        across = total ** (polar / 2 - 1) * ring ** (equatorial / polar - 1)
        slope = (
            across * x ** (2 / equatorial - 1) * torch.where(o[0] + t * d[0] < 0, -d[0], d[0])
            + across * y ** (2 / equatorial - 1) * torch.where(o[1] + t * d[1] < 0, -d[1], d[1])
            + total ** (polar / 2 - 1) * z ** (2 / polar - 1) * torch.where(o[2] + t * d[2] < 0, -d[2], d[2])
        )
        if step == 0:
            alive = alive & (value > 1)  # else it starts inside
        reached = (value - 1).abs() < 1e-5
        alive = alive & (reached | (slope < 0))
        t = torch.where(alive & (slope < 0), t + (1 - value) / slope.clamp_max(-_TINY), t)
        alive = alive & (t <= far + 1e-4)
    return torch.where(alive & (t > 0) & ((value - 1).abs() < 1e-2), t, torch.inf)


def _torus(o: Vector, d: Vector, form: Tensor) -> Tensor:
    """Sphere tracing (Hart 1996) with the exact distance to a circle's tube, then Newton's method on that distance."""
    tube = form[0]
    o, d = (o[0], o[1], o[2] * tube), (d[0], d[1], d[2] * tube)  # stretched so that the tube is round
    length = _dot(d, d).sqrt().clamp_min(_TINY)
    near, far, hit = _interval(length * length, _dot(o, d), _dot(o, o) - 1.0001)  # its bounding ball

    def distance(t: Tensor) -> Tensor:
        x, y, z = (o[axis] + t * d[axis] for axis in range(3))
        return (((x * x + y * y).sqrt() - (1 - tube)).square() + z * z).sqrt() - tube

    t = near.clamp_min(0)
    outside = distance(t) > 0
    for _ in range(_MARCH_STEPS):
        t = t + distance(t) / length
    for _ in range(2):
        gap = distance(t)
        slope = (distance(t + 1e-3 / length) - gap) / 1e-3
        t = t - torch.where(slope < -1e-2, gap / slope.clamp_max(-1e-2), -gap) / length
    return torch.where(hit & outside & (t > 0) & (t < far) & (distance(t) < 1e-4), t, torch.inf)


def _plane(o: Vector, d: Vector, form: Tensor) -> Tensor:
    t = -o[2] / _nonzero(d[2])
    return torch.where((t > 0) & (o[2] > 0), t, torch.inf)


_ENTER: dict[Shape, Callable[[Vector, Vector, Tensor], Tensor]] = {
    Shape.BALL: _ball,
    Shape.BOX: _box,
    Shape.CYLINDER: _cylinder,
    Shape.CONE: _cone,
    Shape.CAPSULE: _capsule,
    Shape.TORUS: _torus,
    Shape.SUPERQUADRIC: _superquadric,
    Shape.PLANE: _plane,
}


def enter(shape: Shape, origin: Tensor, direction: Tensor, form: Tensor | None = None) -> Tensor:
    """The ray parameter t > 0 at which rays enter a unit shape from outside; inf where they miss.

    origin and direction are [3, ...] in the shape's frame and form [2, ...]; they broadcast, and the result has their
    shape without the first axis. Meshes are not unit shapes: see `enter_triangle`.
    """
    if form is None:
        form = origin.new_full((2, *[1] * (origin.dim() - 1)), 0.5)
    return _ENTER[shape](origin.unbind(0), direction.unbind(0), form)  # type: ignore[arg-type]


def enter_triangle(corners: Tensor, origin: Tensor, direction: Tensor) -> Tensor:
    """The ray parameter t > 0 at which rays [3, ...] cross triangles [3 corners, 3, ...] from either side; else inf.

    Signed volumes of the ray and the edges (Möller and Trumbore 1997).
    """
    a, b, c = corners.unbind(0)
    ab, ac = b - a, c - a
    across = torch.linalg.cross(direction, ac, dim=0)
    volume = (ab * across).sum(0)
    # The smallest normal number, not _TINY: small triangles have small volumes.
    inverse = 1 / torch.where(volume.abs() < 1e-30, torch.full_like(volume, 1e-30), volume)
    offset = origin - a
    u = (offset * across).sum(0) * inverse
    turned = torch.linalg.cross(offset, ab, dim=0)
    v = (direction * turned).sum(0) * inverse
    t = (ac * turned).sum(0) * inverse
    return torch.where((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (volume.abs() > 1e-30), t, torch.inf)


def unit_normal(kind: Tensor, point: Tensor, form: Tensor | None = None) -> Tensor:
    """Outward directions [3, ...] (any length) of unit shapes of the given kinds [...] at surface points [3, ...]."""
    if form is None:
        form = point.new_full((2, *point.shape[1:]), 0.5)
    x, y, z = point.unbind(0)
    zero = torch.zeros_like(x)
    across = (x * x + y * y).sqrt()
    size = point.abs()
    # Box, by the largest coordinate; cylinder and cone, by whether the point is nearer to side or cap.
    normal = torch.where((kind == Shape.BOX) & (size < size.amax(0)), 0.0, point)
    upright = (kind == Shape.CYLINDER) | (kind == Shape.CONE)
    flat = torch.where(kind == Shape.CYLINDER, z.abs() >= across, z < -1 + 1e-3)
    lean = torch.where(kind == Shape.CONE, across / 2, zero)
    cap, side = torch.stack([zero, zero, z.sign()]), torch.stack([x, y, lean])
    normal = torch.where(upright, torch.where(flat, cap, side), normal)
    if bool((kind >= Shape.CAPSULE).any()):
        up = torch.stack([zero, zero, torch.ones_like(z)])
        normal = torch.where(kind == Shape.PLANE, up, normal)
        normal = torch.where(kind == Shape.CAPSULE, _capsule_normal(point, form[0]), normal)
        normal = torch.where(kind == Shape.TORUS, _torus_normal(point, form[0]), normal)
        normal = torch.where(kind == Shape.SUPERQUADRIC, _superquadric_normal(point, form), normal)
    return normal


def _capsule_normal(point: Tensor, straight: Tensor) -> Tensor:
    x, y, z = point.unbind(0)
    over = (z.abs() - straight).clamp_min(0) / (1 - straight).clamp_min(1e-6).square()
    return torch.stack([x, y, torch.copysign(over, z)])


def _torus_normal(point: Tensor, tube: Tensor) -> Tensor:
    x, y, z = point.unbind(0)
    outward = 1 - (1 - tube) / (x * x + y * y).sqrt().clamp_min(1e-6)
    return torch.stack([x * outward, y * outward, z * tube * tube])


def _superquadric_normal(point: Tensor, form: Tensor) -> Tensor:
    polar, equatorial = form[0].clamp_min(1e-2), form[1].clamp_min(1e-2)
    size = point.abs().clamp(1e-6, 1)
    ring = size[0] ** (2 / equatorial) + size[1] ** (2 / equatorial)
    across = ring ** (equatorial / polar - 1)
    slope = torch.stack([across * size[0] ** (2 / equatorial - 1), across * size[1] ** (2 / equatorial - 1),
                         size[2] ** (2 / polar - 1)])  # fmt: skip
    return torch.copysign(slope, point)
