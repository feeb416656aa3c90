"""The `tabletop` family: two to four solid objects on a textured ground under a low or high sun.

Every scene is a fixed transformation of uniform numbers drawn at its own address, so that it does not depend on the
batch. Distributions (U = uniform):
objects    2 to 4 of ball, box, cylinder, cone; half extents U(0.26, 0.5) m times U(0.6, 1.4) per axis; half of them
           upright, half turned at random; standing on the ground within 1.1 m of the origin, apart where possible
textures   objects: 55% plain, else stripes, checks or blotches of period U(0.25, 0.75) m; ground: 40% plain, periods
           U(0.8, 2.2) m; random hues, one muted pair for the ground
light      sun U(25, 70) degrees high at any azimuth; sky from a pale horizon to a colored zenith
cameras    arcs 60%, inward views 40%; in training and in the orbit evaluation `viewpoints.ring`
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from geometry.rotation.transforms import rotation_about
from worldgen.runtime.rng import Stream, scene_numbers, uniform
from worldgen.scenes.cameras.sampling import CameraStyle, arc, inward
from worldgen.scenes.captions import scene_captions
from worldgen.scenes.classes import SemanticClass
from worldgen.scenes.motion import Motion
from worldgen.scenes.scene import Light, Materials, Scene
from worldgen.scenes.shapes import Shape, reach_below
from worldgen.scenes.textures import Textures

NUMBER = 0
CAMERAS: tuple[tuple[CameraStyle, float], ...] = ((arc, 0.6), (inward, 0.4))
_SLOTS = 4
_TRIES = 12
_HAZE_M = 14.0  # over which the ground fades into the horizon, so that its far texture does not alias
_PER_OBJECT = 16 + 2 * _TRIES
_PER_TEXTURE = 24
_NUMBERS = _SLOTS * _PER_OBJECT + (_SLOTS + 1) * _PER_TEXTURE + 16


def tabletop(seed: int, indices: list[int], held_out: bool = False) -> Scene:
    """Scenes of the tabletop family.

    Args:
        seed: Of the endless series of scenes.
        indices: The scenes' numbers in it, 0 or more.
        held_out: Take the scenes from the series that training never draws from.

    Returns:
        A batch of the scenes.

    Raises:
        InputError: A negative number.
    """
    scene_numbers(indices)
    domain = Stream.HELD_OUT_SCENES if held_out else Stream.TRAINING_SCENES
    u = torch.stack([uniform(domain, seed, (index, NUMBER), (_NUMBERS,)) for index in indices])
    per_object, per_texture, rest = u.split([_SLOTS * _PER_OBJECT, (_SLOTS + 1) * _PER_TEXTURE, 16], -1)
    per_object = per_object.unflatten(-1, (_SLOTS, _PER_OBJECT))

    present = torch.arange(_SLOTS) < 2 + (rest[:, :1] * (_SLOTS - 1)).floor()
    kind = torch.where(present, (per_object[..., 0] * 4).floor().long(), int(Shape.NONE))
    size = (0.26 + 0.24 * per_object[..., 1:2]) * (0.6 + 0.8 * per_object[..., 2:5])
    rotation = _rotations(per_object[..., 5:10])
    height = reach_below(kind, rotation, size)
    place = _places(per_object[..., 16:].unflatten(-1, (_TRIES, 2)), size.norm(dim=-1), present)
    batch, slots = kind.shape

    def with_ground(values: Tensor, ground: float | int) -> Tensor:
        return torch.cat([values, torch.full_like(values[:, :1], ground)], 1)

    textures = _textures(per_texture.unflatten(-1, (_SLOTS + 1, _PER_TEXTURE)))
    none = torch.zeros(batch, slots + 1)
    center = with_ground(torch.cat([place, height[..., None]], -1), 0.0)
    turn = torch.cat([rotation, torch.eye(3).expand(batch, 1, 3, 3)], 1)
    scene = Scene(
        kind=with_ground(kind, Shape.PLANE),
        size=with_ground(size, 1.0),
        form=torch.full((batch, slots + 1, 2), 0.5),
        motion=Motion.still(center, turn),
        instance=torch.cat([torch.arange(1, slots + 1), torch.zeros(1, dtype=torch.long)]).expand(batch, -1),
        semantic=torch.tensor([int(SemanticClass.OBJECT)] * slots + [int(SemanticClass.GROUND)]).expand(batch, -1),
        material=Materials(textures, none, none + 1, none, with_ground(none[:, 1:] + torch.inf, _HAZE_M)),
        light=_light(rest[:, 1:]),
        triangles=torch.zeros(batch, 0, 3, 3),
        owner=torch.zeros(batch, 0, dtype=torch.long),
        lines=torch.zeros(batch, 0, 2, 3),
    )
    return replace(scene, captions=scene_captions(scene, ["on a table"] * batch))


def _rotations(u: Tensor) -> Tensor:
    """Half upright with any heading, half uniformly random (Shoemake 1992, as an axis and an angle)."""
    heading = 2 * math.pi * u[..., 0]
    up = torch.zeros(*u.shape[:-1], 3)
    up[..., 2] = 1
    upright = rotation_about(up, heading)
    around, along = 2 * math.pi * u[..., 1], 2 * u[..., 2] - 1
    ring = (1 - along * along).clamp_min(0).sqrt()
    axis = torch.stack([ring * around.cos(), ring * around.sin(), along], -1)
    turned = rotation_about(axis, math.pi * u[..., 3]) @ upright
    return torch.where((u[..., 4] < 0.5)[..., None, None], upright, turned)


def _places(u: Tensor, radius: Tensor, present: Tensor) -> Tensor:
    """Positions [b, n, 2] in a disc of 1.1 m: of each object's tries the first one clear of others, or the clearest."""
    angle, reach = 2 * math.pi * u[..., 0], 1.1 * u[..., 1].sqrt()
    tries = torch.stack([reach * angle.cos(), reach * angle.sin()], -1)
    placed = [tries[:, 0, 0]]
    for n in range(1, _SLOTS):
        others = torch.stack(placed, 1)
        apart = (tries[:, n, :, None] - others[:, None]).norm(dim=-1)
        clearance = (apart - radius[:, None, :n] - radius[:, None, None, n]).masked_fill(~present[:, None, :n], 9.0)
        # The first try that is clear of everything, else the clearest one.
        score = clearance.amin(-1).clamp_max(0.02) - 1e-6 * torch.arange(_TRIES)
        best = score.argmax(-1)
        placed.append(tries[torch.arange(len(best)), n, best])
    return torch.stack(placed, 1)


def _color(u: Tensor, saturation: float, low: float, high: float) -> Tensor:
    """Linear colors from hue, saturation and value numbers u [..., 3]."""
    hue, sat, value = u[..., :1], saturation * (0.4 + 0.6 * u[..., 1:2]), low + (high - low) * u[..., 2:]
    wheel = (6 * hue + torch.tensor([5.0, 3.0, 1.0])) % 6
    return (value * (1 - sat * torch.minimum(wheel, 4 - wheel).clamp(0, 1))) ** 2.2


def _textures(u: Tensor) -> Textures:
    """Textures [b, n + 1] of the objects and, last, the ground."""
    ground = (torch.arange(u.shape[1]) == u.shape[1] - 1)[:, None]
    color_a = torch.where(ground, _color(u[..., 0:3], 0.45, 0.35, 0.85), _color(u[..., 0:3], 0.95, 0.35, 1.0))
    color_b = torch.where(ground, _color(u[..., 3:6], 0.45, 0.35, 0.85), _color(u[..., 3:6], 0.95, 0.2, 1.0))
    plain = u[..., 6:7] < torch.where(ground, 0.4, 0.55)
    color_b = torch.where(plain, color_a, torch.where(ground, torch.lerp(color_a, color_b, 0.7), color_b))

    pattern = (u[..., 7] * 3).floor()[..., None]  # 0 stripes, 1 checks, 2 blotches
    period = torch.where(ground, 0.8 + 1.4 * u[..., 8:9], 0.25 + 0.5 * u[..., 8:9])
    around, along = 2 * math.pi * u[..., 9:12], torch.where(ground, 0.0, 2 * u[..., 12:15] - 1)
    ring = (1 - along * along).clamp_min(0).sqrt()
    direction = torch.stack([ring * around.cos(), ring * around.sin(), along], -1)
    # Checks need three waves at right angles; on the ground the third is constant.
    first = torch.stack([around[..., 0].cos(), around[..., 0].sin(), torch.zeros_like(around[..., 0])], -1)
    up = torch.tensor([0.0, 0.0, 1.0]).expand_as(first)
    square = torch.stack([first, torch.linalg.cross(up, first), torch.where(ground, 0.0, up)], -2)
    wave = torch.where(pattern[..., None] == 1, square, direction) * (2 * math.pi / period[..., None])
    phase = 2 * math.pi * u[..., 15:18]
    phase = torch.where(ground & (torch.arange(3) == 2) & (pattern == 1), math.pi / 2, phase)
    weight = torch.where(pattern == 0, torch.tensor([1.0, 0.0, 0.0]), torch.full((3,), 0.6)).expand_as(phase)
    sharpness = 2.0 * 8.0 ** u[..., 18]
    zero = torch.zeros_like(sharpness)
    return Textures(color_a, color_b, wave, phase, weight, (pattern == 1)[..., 0].float(), sharpness, zero, zero)


def _light(u: Tensor) -> Light:
    azimuth, elevation = 2 * math.pi * u[:, 0], torch.deg2rad(25 + 45 * u[:, 1])
    warmth = 0.12 * u[:, 3:4] * torch.tensor([1.0, 0.0, -1.0])
    return Light(
        to_sun=torch.stack([azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin()], -1),
        sun=(0.75 + 0.35 * u[:, 2:3]) * (1 + warmth),
        ambient=(0.30 + 0.15 * u[:, 4:5]) * (1 - warmth),
        horizon=_color(u[:, 5:8], 0.25, 0.75, 1.0),
        zenith=_color(u[:, 8:11], 0.8, 0.35, 0.9),
        lamp=torch.zeros(len(u), 0, 3),
        lamp_color=torch.zeros(len(u), 0, 3),
    )
