"""The torch reference of `worldgen.scenes.rendering.tracing.trace`, on any device and in any float type."""

import torch
from torch import Tensor

from worldgen.scenes.rendering.solids import Hits, Solids
from worldgen.scenes.rendering.torch.shapes import enter, enter_triangle
from worldgen.scenes.shapes import Shape

_ELEMENTS_CPU, _ELEMENTS_GPU = 1 << 16, 1 << 25  # rays times primitives tried at once, to fit a cache or fill a GPU


def bundle_cones(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cones [p, t] around bundles of rays: tip [.., 3] and its radius, axis [.., 3], and half angle (radians)."""
    tip = origin.mean(-1)
    radius = _square(origin - tip[..., None], -2).amax(-1).sqrt()
    unit = direction * _square(direction, -2).clamp_min(1e-30).rsqrt()[..., None, :]
    total = unit.sum(-1)
    axis = torch.nn.functional.normalize(total, dim=-1)
    # By the chord: an arc cosine in float32 cannot tell small angles apart.
    chord = _square(unit - axis[..., None], -2).amax(-1).sqrt()
    angle = 2 * (chord / 2).clamp(max=1).asin()
    # Rays in all directions (of a panorama) may have no mean direction.
    return tip, radius, axis, torch.where(_square(total, -1) > 1e-8, angle, torch.pi)


def _square(vector: Tensor, axis: int) -> Tensor:
    """Squared lengths; several times faster than `norm` over an axis of three."""
    x, y, z = vector.unbind(axis)
    return x * x + y * y + z * z


def _touched(cones: tuple[Tensor, Tensor, Tensor, Tensor], center: Tensor, reach: Tensor) -> Tensor:
    """Which balls [p, n] each cone [p, t] touches: [p, t, n]."""
    tip, radius, axis, angle = cones
    offset = center[:, None] - tip[:, :, None]
    distance = _square(offset, -1).sqrt().clamp_min(1e-9)
    reach = reach[:, None] + radius[..., None] + 1e-5 * distance
    chord = _square(offset / distance[..., None] - axis[:, :, None], -1).sqrt()
    between = 2 * (chord / 2).clamp(max=1).asin()
    return (between <= angle[..., None] + (reach / distance).clamp(-1, 1).asin() + 1e-4) & (reach > -1) | (
        distance <= reach
    )


def trace_torch(solids: Solids, origin: Tensor, direction: Tensor) -> Hits:
    images, bundles, _, rays = torch.broadcast_shapes(origin.shape, direction.shape)
    cones = tuple(part.expand(images, bundles, *part.shape[2:]) for part in bundle_cones(origin, direction))
    origin, direction = origin.expand(-1, bundles, -1, -1), direction.expand(-1, bundles, -1, -1)
    best = _Nearest(images, bundles, rays, direction)
    step = max(1, (_ELEMENTS_CPU if direction.device.type == "cpu" else _ELEMENTS_GPU) // rays)

    touched = _touched(cones, solids.center, solids.reach) & (solids.kind >= 0)[:, None]  # type: ignore[arg-type]
    for shape in (kind for kind in Shape if kind not in (Shape.NONE, Shape.MESH)):
        of_shape = (solids.kind == shape)[:, None] & touched
        for p, t, n in (part.unbind(-1) for part in of_shape.nonzero().split(step)):
            to_unit = solids.unit_from_world[p, n]
            o = to_unit[..., :3] @ origin[p, t] + to_unit[..., 3:]
            d = to_unit[..., :3] @ direction[p, t]
            form = solids.form[p, n].T[..., None]
            best.offer(p * bundles + t, enter(shape, o.movedim(1, 0), d.movedim(1, 0), form), n, None)
    if solids.corners.shape[1]:
        middle = solids.corners.mean(2)
        radius = (solids.corners - middle[:, :, None]).norm(dim=-1).amax(-1)
        reach = torch.where(solids.owner >= 0, radius, -torch.inf)
        for p, t, m in (part.unbind(-1) for part in _touched(cones, middle, reach).nonzero().split(step)):  # type: ignore[arg-type]
            corners = solids.corners[p, m].movedim(0, 2)[..., None]
            hit = enter_triangle(corners, origin[p, t].movedim(1, 0), direction[p, t].movedim(1, 0))
            best.offer(p * bundles + t, hit, solids.owner[p, m], m)
    return best.hits()


class _Nearest:
    """The nearest hit of each ray so far."""

    def __init__(self, images: int, bundles: int, rays: int, like: Tensor):
        self.shape = (images, bundles, rays)
        self.t = torch.full((images * bundles, rays), torch.inf, dtype=like.dtype, device=like.device)
        self.slot = torch.full_like(self.t, -1, dtype=torch.long)
        self.triangle = self.slot.clone()

    def offer(self, bundle: Tensor, t: Tensor, slot: Tensor, triangle: Tensor | None) -> None:
        """Keep the nearer ones of hits t [j, k] of j pairs of a bundle and a primitive."""
        pair, ray = t.isfinite().nonzero(as_tuple=True)
        place = bundle[pair] * self.shape[2] + ray
        value = t[pair, ray]
        flat = self.t.view(-1)
        before = flat[place]
        flat.scatter_reduce_(0, place, value, "amin")
        # Of equally near hits the first stays, and of several new ones the lowest slot wins, in any order of them.
        won = (value == flat[place]) & (value < before)
        place, pair = place[won], pair[won]
        self.slot.view(-1).scatter_reduce_(0, place, slot[pair], "amin", include_self=False)
        self.triangle.view(-1)[place] = -1
        if triangle is not None:
            self.triangle.view(-1).scatter_reduce_(0, place, triangle[pair], "amin", include_self=False)

    def hits(self) -> Hits:
        return Hits(*(part.view(self.shape) for part in (self.t, self.slot, self.triangle)))
