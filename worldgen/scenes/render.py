"""The reference renderer: exact ray casting of closed-form scenes, in batches, by torch alone on any device."""

import torch
from einops import rearrange
from torch import Tensor

from geometry.cameras import Cameras
from geometry.conventions import srgb_from_linear
from geometry.errors import InputError
from geometry.rays import camera_directions, pixel_centres
from worldgen.clip import Clip
from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import Shape, enter, unit_normal
from worldgen.scenes.textures import evaluate

_HAZE_M = 14.0  # distance over which the ground fades into the horizon; keeps its far texture from aliasing
_SHADOW_BIAS_M = 1e-3


def render(scene: Scene, cameras: Cameras, supersample: int = 2, chunk_rays: int | None = None) -> Clip:
    """Pictures, exact depth and instance ids of every scene b from its own f cameras.

    scene        b scenes
    cameras      batch shape [b, f]
    supersample  s: colour is the mean of s x s rays a pixel in linear light; depth and ids are those of the one ray
                 through the pixel's centre
    chunk_rays   rays held at once, which bounds the memory at about 600 bytes each; by default 2^15 on a CPU,
                 whose caches like it, and 2^24 elsewhere

    Returns a Clip with rgb [b, f, 3, h, w], z-depth (inf = sky) and instances (0 = ground, 1.. = objects, -1 = sky).
    Raises InputError when the batch shapes do not match.
    """
    if len(cameras.shape) != 2 or cameras.shape[0] != len(scene):
        raise InputError(f"render: cameras of shape {tuple(cameras.shape)} for {len(scene)} scenes; expected [b, f]")
    frames, (height, width) = cameras.shape[1], cameras.hw
    limit = chunk_rays or (1 << 15 if cameras.K.device.type == "cpu" else 1 << 24)
    budget = max(1, limit // (height * width * (supersample**2 + 1)))  # pictures at once
    f_step, b_step = min(budget, frames), max(1, budget // frames)
    rows = []
    for i in range(0, len(scene), b_step):
        some, those = scene[i : i + b_step], cameras[i : i + b_step]
        parts = [_render(some, those[:, j : j + f_step], supersample) for j in range(0, frames, f_step)]
        rows.append([torch.cat(part, 1) for part in zip(*parts)])
    rgb, depth, instances = (torch.cat(part) for part in zip(*rows))
    return Clip(rgb, depth, cameras, instances)


# Below, vectors are component-first, [3, b, f, p] for p rays of f frames of b scenes: contiguous components are what
# makes elementwise work fast.


def _render(scene: Scene, cameras: Cameras, supersample: int) -> tuple[Tensor, Tensor, Tensor]:
    height, width = cameras.hw
    depth, instance = _trace(scene, *_rays(cameras, 1))
    origin, direction = _rays(cameras, supersample)
    light = _shade(scene, origin, direction, *_trace(scene, origin, direction))
    light = rearrange(
        light, "c b f (h i w j) -> b f c h w (i j)", h=height, w=width, i=supersample, j=supersample
    ).mean(-1)
    shape = (*cameras.shape, 1, height, width)
    return srgb_from_linear(light.clamp(0, 1)), depth.reshape(shape), instance.reshape(shape)


def _rays(cameras: Cameras, supersample: int) -> tuple[Tensor, Tensor]:
    """Origins [3, b, f, 1] and directions [3, b, f, p] in the world, with camera z = 1 so that t is z-depth."""
    fine = cameras.resized((cameras.hw[0] * supersample, cameras.hw[1] * supersample))
    uv = pixel_centres(fine.hw, fine.K.device, fine.K.dtype)
    direction = rearrange(camera_directions(fine.K, uv), "b f h w c -> b f c (h w)")
    direction = fine.world_from_camera[..., :3, :3] @ direction
    return rearrange(fine.centres, "b f c -> c b f 1"), rearrange(direction, "b f c p -> c b f p").contiguous()


def _rotate(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrices [m, 3, 3] times vectors [3, m, f, p]."""
    row = rearrange(matrix, "m i j -> i j m 1 1")
    return row[:, 0] * vector[0] + row[:, 1] * vector[1] + row[:, 2] * vector[2]


def _length(vector: Tensor) -> Tensor:
    return (vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]).sqrt()


def _objects(scene: Scene, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest object along each ray: t [b, f, p] (inf = none) and its slot (-1 = none)."""
    shape = torch.broadcast_shapes(origin.shape, direction.shape)[1:]
    nearest = torch.full(shape, torch.inf, dtype=direction.dtype, device=direction.device)
    slot = torch.full(shape, -1, dtype=torch.long, device=direction.device)
    object_from_world = (scene.rotation / scene.size[..., None, :]).transpose(-1, -2)
    for n in range(scene.kind.shape[1]):
        for shape_kind in (Shape.BALL, Shape.BOX, Shape.CYLINDER, Shape.CONE):
            rows = (scene.kind[:, n] == shape_kind).nonzero().squeeze(-1)
            if len(rows) == 0:
                continue
            which = slice(None) if len(rows) == len(scene) else rows  # a view where every scene takes part
            to_object = object_from_world[which, n]
            centre = rearrange(scene.centre[which, n], "m c -> c m 1 1")
            o = _rotate(to_object, origin[:, which] - centre)
            t = enter(shape_kind, o, _rotate(to_object, direction[:, which]))
            closer = t < nearest[which]
            nearest[which] = torch.where(closer, t, nearest[which])
            slot[which] = torch.where(closer, n, slot[which])
    return nearest, slot


def _trace(scene: Scene, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """What each ray hits first: t [b, f, p] (inf = sky) and instance (0 = ground, 1.. = object, -1 = sky)."""
    nearest, slot = _objects(scene, origin, direction)
    down = direction[2]
    ground = -origin[2] / torch.where(down.abs() < 1e-9, torch.full_like(down, 1e-9), down)
    on_ground = (ground > 0) & (ground < nearest)
    instance = torch.where(on_ground, 0, torch.where(slot >= 0, slot + 1, -1))
    return torch.where(on_ground, ground, nearest), instance


def _shade(scene: Scene, origin: Tensor, direction: Tensor, t: Tensor, instance: Tensor) -> Tensor:
    """Linear light [3, b, f, p] arriving along each ray: Lambert with one shadowed sun, ambient, and the sky."""
    hit = t.isfinite()
    point = origin + torch.where(hit, t, 1.0) * direction
    rotation, centre, size, kind, texture = _surfaces(scene, instance)
    offset = point - centre
    local = rotation[0:3] * offset[0] + rotation[3:6] * offset[1] + rotation[6:9] * offset[2]
    albedo = evaluate(texture, local)
    outward = unit_normal(kind, local / size) / size
    normal = torch.stack([(rotation[3 * i : 3 * i + 3] * outward).sum(0) for i in range(3)])
    normal = normal / _length(normal).clamp_min(1e-9)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=t.dtype, device=t.device)[:, None, None, None]
    normal = torch.where(instance > 0, normal, up)

    to_sun, sun, ambient, horizon, zenith = (
        rearrange(value, "b c -> c b 1 1")
        for value in (scene.to_sun, scene.sun, scene.ambient, scene.horizon, scene.zenith)
    )
    facing = (normal * to_sun).sum(0).clamp_min(0)
    start = torch.where(hit, point + _SHADOW_BIAS_M * normal, 0.0)
    lit = _objects(scene, start, to_sun)[0].isinf()
    light = albedo * (ambient * (0.75 + 0.25 * normal[2]) + sun * (facing * lit))

    length = _length(direction)
    distance = (t * length).masked_fill(instance != 0, 0.0)
    light = torch.lerp(light, horizon, 1 - torch.exp(-((distance / _HAZE_M) ** 2)))
    height = (direction[2] / length).clamp_min(0).sqrt()
    return torch.where(hit, light, torch.lerp(horizon, zenith, height))


def _surfaces(scene: Scene, instance: Tensor) -> tuple[Tensor, ...]:
    """Rotation [9, b, f, p], centre, size [3, ...], kind [...] and texture row [23, ...] of each ray's surface.

    All fetched in one gather. The ground comes after the objects, with the world's own frame; the sky borrows it.
    """
    batch, slots = scene.kind.shape
    pad = torch.nn.functional.pad
    identity = torch.eye(3, device=instance.device).flatten().expand(batch, 1, 9)
    table = torch.cat(
        [
            torch.cat([scene.rotation.flatten(-2), identity], 1),
            pad(scene.centre, (0, 0, 0, 1)),
            pad(scene.size, (0, 0, 0, 1), value=1.0),
            pad(scene.kind, (0, 1), value=Shape.NONE)[..., None],
            scene.textures.table(),
        ],
        -1,
    )
    surface = torch.where(instance > 0, instance - 1, slots)
    surface = surface + (slots + 1) * torch.arange(batch, device=instance.device)[:, None, None]
    columns = table.flatten(0, 1).T.contiguous()
    rows = columns.index_select(1, surface.flatten()).unflatten(1, surface.shape)
    rotation, centre, size, kind, texture = rows.split([9, 3, 3, 1, len(rows) - 16])
    return rotation, centre, size, kind.squeeze(0), texture
