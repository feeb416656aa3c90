"""From hits to the light that arrives along rays: surfaces, textures, sun, lamps, haze and sky.

Vectors are component-first, [3, n] for n rays of many images: elementwise operations are fast on contiguous components.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.values import as_value
from worldgen.scenes.rendering.constants import NEAREST_LAMP_M, SHADOW_BIAS
from worldgen.scenes.rendering.solids import Hits, Solids
from worldgen.scenes.rendering.torch.shapes import unit_normal
from worldgen.scenes.rendering.torch.textures import evaluate
from worldgen.scenes.rendering.tracing import trace
from worldgen.scenes.scene import Scene


@as_value
@dataclass(frozen=True)
class Surfaces:
    """Where n rays end.

    hit        [n] whether they hit anything; where not, the rest is that of some primitive and meaningless
    scene      [n] which scene of the batch
    primitive  [n] scene times slots + slot: the row of tables [b n, ...]
    t          [n] ray parameter
    point      [3, n] in the world
    local      [3, n] metres in the primitive's own frame
    normal     [3, n] unit, in the world, towards the ray's start for meshes and outwards for solids
    local_normal  [3, n] in the primitive's own frame, any length
    """

    hit: Tensor
    scene: Tensor
    primitive: Tensor
    t: Tensor
    point: Tensor
    local: Tensor
    normal: Tensor
    local_normal: Tensor


def length(vector: Tensor) -> Tensor:
    """Lengths [...] of vectors [3, ...]."""
    return (vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]).sqrt()


def flat(bundled: Tensor, like: Tensor) -> Tensor:
    """Vectors [3, n] of bundled ones [p, t, 3, k], any of which may be shared (see `trace`)."""
    return bundled.expand(*like.shape[:2], 3, like.shape[2]).movedim(2, 0).reshape(3, -1)


def surfaces(scene: Scene, solids: Solids, which: Tensor, hits: Hits, origin: Tensor, direction: Tensor) -> Surfaces:
    """Where and on what the rays end; `which` [p] is the scene of each image.

    t, and what is computed from it, carries gradients to poses, sizes and rays: the hit itself is found without
    gradients, and one Newton step on the surface from there, which changes no value, has the right derivative (the
    implicit function theorem).
    """
    images, slots = solids.kind.shape
    hit = hits.slot >= 0
    image = torch.arange(images, device=which.device)[:, None, None].expand_as(hits.slot)
    row = (image * slots + hits.slot.clamp_min(0)).reshape(-1)
    primitive = (which[image] * slots + hits.slot.clamp_min(0)).reshape(-1)
    table = torch.cat([solids.unit_from_world.flatten(2), solids.form, solids.kind[..., None]], -1).flatten(0, 1)
    rows = table.T.contiguous().index_select(1, row)
    affine, form, kind = rows.split([12, 2, 1])
    size = scene.size.flatten(0, 1).T.contiguous().index_select(1, primitive)

    o, d = flat(origin, hits.t), flat(direction, hits.t)
    hit = hit.reshape(-1)
    t = torch.where(hit, hits.t.reshape(-1), 1.0)
    unit = _to_unit(affine, o + t * d)
    unit_n = unit_normal(kind.squeeze(0), unit.detach(), form)
    if bool((hits.triangle >= 0).any()):
        unit_n = _mesh_normals(unit_n, affine.detach(), solids, image, hits, d.detach())
    if torch.is_grad_enabled() and (o.requires_grad or d.requires_grad or affine.requires_grad):
        falling = (unit_n * _to_unit(affine, d, 0.0)).sum(0).detach()
        falling = torch.where(falling.abs() < 1e-6, torch.full_like(falling, -1e-6), falling)
        t = t - (unit_n * (unit - unit.detach())).sum(0) / falling
        unit = _to_unit(affine, o + t * d)
        smooth = unit_normal(kind.squeeze(0), unit, form)
        unit_n = torch.where(hits.triangle.reshape(-1) >= 0, unit_n, smooth)
    normal = torch.stack(
        [(affine[axis::4] * unit_n).sum(0) for axis in range(3)]
    )  # covectors transform by the transpose
    normal = normal / length(normal).clamp_min(1e-12)
    return Surfaces(hit, primitive // slots, primitive, t, o + t * d, unit * size, normal, unit_n / size)


def _to_unit(affine: Tensor, vector: Tensor, shift: float = 1.0) -> Tensor:
    """Rows of matrices [12, n] applied to points [3, n]; shift 0 for directions."""
    x, y, z = vector
    return affine[0::4] * x + affine[1::4] * y + affine[2::4] * z + shift * affine[3::4]


def _mesh_normals(
    normal: Tensor, affine: Tensor, solids: Solids, image: Tensor, hits: Hits, direction: Tensor
) -> Tensor:
    """The triangles' normals in place of the unit shapes', facing the rays, in the unit frame."""
    triangle = hits.triangle.reshape(-1)
    chosen = (triangle >= 0).nonzero().squeeze(-1)
    a, b, c = solids.corners[image.reshape(-1)[chosen], triangle[chosen]].movedim(0, -1)
    facing = torch.linalg.cross(b - a, c - a, dim=0)
    facing = torch.where((facing * direction[:, chosen]).sum(0) > 0, -facing, facing)
    # World normal n = A^T m, so m solves A^T m = n.
    linear = torch.stack([affine[4 * i : 4 * i + 3, chosen] for i in range(3)]).movedim(-1, 0)
    local = torch.linalg.solve(linear.transpose(-1, -2), facing.T[..., None]).squeeze(-1)
    return normal.index_copy(1, chosen, local.T)


def _per_ray(values: Tensor, index: Tensor) -> Tensor:
    """Columns [c, n] of a table [r, c] at rows [n]."""
    return values.T.contiguous().index_select(1, index)


def shade(
    scene: Scene,
    solids: Solids,
    which: Tensor,
    hits: Hits,
    seen: Surfaces,
    direction: Tensor,
    pixel: Tensor | None,
) -> Tensor:
    """Linear light [3, p t k] arriving along each ray: Lambert and Blinn-Phong under a sun and lamps that cast shadows.

    seen   where the rays end (`surfaces`)
    pixel  [p] width of a ray at z-depth 1 m (metres), from which the textures' footprint follows; None = textures
           unfiltered
    """
    d = flat(direction, hits.t)
    distance = length(d) * seen.t
    to_eye = -d / length(d)
    columns = scene.material.textures.table().flatten(0, 1).T.contiguous()
    albedo = _albedo(columns, seen, None if pixel is None else pixel.repeat_interleave(hits.t[0].numel()) * distance)
    material = scene.material
    finish = torch.stack([material.gloss, material.shine, material.glow, material.haze_m], -1).flatten(0, 1)
    gloss, shine, glow, haze_m = _per_ray(finish.to(d.dtype), seen.primitive)

    light = scene.light
    names = ("to_sun", "sun", "ambient", "horizon", "zenith")
    image_light = torch.cat([getattr(light, name) for name in names], -1)
    of_sun = _per_ray(image_light, which.repeat_interleave(hits.t[0].numel()))
    to_sun, sun, ambient, horizon, zenith = of_sun.split(3)
    bounced = albedo * (ambient * (0.75 + 0.25 * seen.normal[2]) + glow)
    if bool((light.sun > 0).any()):
        lit = _reaches(solids, seen, hits, light.to_sun[which][:, None, :, None], torch.inf)
        bounced = bounced + sun * lit * _reflect(albedo, seen.normal, to_sun, to_eye, gloss, shine)
    for lamp in range(light.lamp.shape[1]):
        if bool((light.lamp_color[:, lamp] > 0).any()):
            bounced = bounced + _from_lamp(scene, lamp, solids, which, hits, seen, albedo, to_eye, gloss, shine)

    bounced = torch.lerp(bounced, horizon, 1 - torch.exp(-((distance / haze_m) ** 2)))
    height = -to_eye[2]
    sky = torch.lerp(horizon, zenith, height.clamp_min(0).sqrt())
    return torch.where(seen.hit, bounced, sky)


def _lamp_places(scene: Scene, lamp: int, which: Tensor, hits: Hits) -> Tensor:
    return scene.light.lamp[which, lamp][:, None, :, None].expand(-1, hits.t.shape[1], -1, hits.t.shape[2])


def _albedo(columns: Tensor, seen: Surfaces, footprint: Tensor | None) -> Tensor:
    """The diffuse color at each ray's end [3, n]; black for rays that hit nothing."""
    chosen = seen.hit.nonzero().squeeze(-1)
    width = None if footprint is None else footprint[chosen]
    color = evaluate(
        columns, seen.primitive[chosen], seen.local[:, chosen], seen.local_normal[:, chosen].detach(), width
    )
    return torch.zeros_like(seen.point).index_copy(1, chosen, color)


def _reflect(albedo: Tensor, normal: Tensor, to_light: Tensor, to_eye: Tensor, gloss: Tensor, shine: Tensor) -> Tensor:
    """The share of light from a direction that is reflected to the eye: Lambert's law and a Blinn-Phong highlight."""
    facing = (normal * to_light).sum(0).clamp_min(0)
    reflected = albedo * facing
    if bool((gloss > 0).any()):
        half = to_light + to_eye
        aligned = ((normal * half).sum(0) / length(half).clamp_min(1e-6)).clamp(1e-4, 1)
        reflected = reflected + gloss * aligned**shine * (facing > 0)
    return reflected


def _reaches(solids: Solids, seen: Surfaces, hits: Hits, to_light: Tensor, end: float) -> Tensor:
    """Whether light arrives at each ray's end [n]: a ray from there along `to_light` hits nothing before t = end."""
    # Faces turned away from the light start inside their own solid; they are dark in any case.
    start = torch.where(seen.hit, seen.point + SHADOW_BIAS * seen.normal, torch.zeros_like(seen.point))
    start = start.detach().reshape(3, *hits.t.shape).movedim(0, 2).contiguous()
    if to_light.shape[-1] > 1:
        to_light = to_light - start
    return (trace(solids, start, to_light.detach()).t >= end).reshape(-1)


def _from_lamp(
    scene: Scene, lamp: int, solids: Solids, which: Tensor, hits: Hits, seen: Surfaces,
    albedo: Tensor, to_eye: Tensor, gloss: Tensor, shine: Tensor,
) -> Tensor:  # fmt: skip
    place = _lamp_places(scene, lamp, which, hits)
    lit = _reaches(solids, seen, hits, place, 1 - SHADOW_BIAS)
    color = _per_ray(scene.light.lamp_color[:, lamp], seen.scene)
    offset = flat(place, hits.t) - seen.point
    away = length(offset).clamp_min(NEAREST_LAMP_M)
    return color * lit / away**2 * _reflect(albedo, seen.normal, offset / away, to_eye, gloss, shine)
