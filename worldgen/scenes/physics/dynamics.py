"""Rigid balls and boxes under gravity: flight, bounces, rolling, sliding, collisions and stacks.

Soft contacts solved in small steps (Macklin et al. 2019, "Small steps in physics simulation"; Catto 2024, "Solver2D":
the soft step solver): in every step contacts are found once, and in each of its substeps velocities are solved with
springs that push out what has sunk in, positions move, and velocities are solved again without the springs, so that
these add no energy. Contacts are found before they happen, and let bodies close the gap but no more. Needs numba (the
`[fast]` extra).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float, Int
from worldgen.scenes.motion import Motion
from worldgen.scenes.rendering.shapes import Shape

GRAVITY = 9.81


@dataclass(frozen=True)
class Bodies:
    """The state of n balls and boxes in each of b worlds on the ground z = 0. SI units, float64.

    kind         [b, n] Shape.BALL, Shape.BOX or Shape.NONE
    size         [b, n, 3] half extents (a ball's radius in all three)
    mass         [b, n] kg; 0 = does not move
    restitution, friction  [b, n]; a pair takes the larger restitution and the geometric mean of the frictions, the
                 ground has the body's own
    position     [b, n, 3]; rotation [b, n, 4] world from body, wxyz
    velocity     [b, n, 3]; spin [b, n, 3] in the world, radians per second
    """

    kind: Int[Tensor, "b n"]
    size: Float[Tensor, "b n 3"]
    mass: Float[Tensor, "b n"]
    restitution: Float[Tensor, "b n"]
    friction: Float[Tensor, "b n"]
    position: Float[Tensor, "b n 3"]
    rotation: Float[Tensor, "b n 4"]
    velocity: Float[Tensor, "b n 3"]
    spin: Float[Tensor, "b n 3"]

    def inertia(self) -> Float[Tensor, "b n 3"]:
        """Principal moments of inertia (kg m^2)."""
        square = self.size.double().square()
        box = (square.sum(-1, keepdim=True) - square) / 3
        ball = 0.4 * square
        return self.mass[..., None] * torch.where((self.kind == Shape.BALL)[..., None], ball, box)

    def momentum(self) -> tuple[Float[Tensor, "b 3"], Float[Tensor, "b 3"]]:
        """Linear momentum, and angular momentum about the origin, of everything that moves."""
        linear = self.mass[..., None] * self.velocity
        own = _turned(self.rotation, self.inertia() * _turned(self.rotation, self.spin, back=True))
        return linear.sum(1), (torch.linalg.cross(self.position, linear) + own).sum(1)

    def energy(self, gravity: float = GRAVITY) -> Float[Tensor, "b"]:
        """Kinetic and potential energy (joules), potential 0 at z = 0."""
        own = (self.inertia() * _turned(self.rotation, self.spin, back=True).square()).sum(-1)
        moving = self.mass * self.velocity.square().sum(-1) + own
        return (0.5 * moving + self.mass * gravity * self.position[..., 2]).sum(1)


def _turned(rotation: Tensor, vector: Tensor, back: bool = False) -> Tensor:
    w, axis = rotation[..., :1], rotation[..., 1:] * (-1 if back else 1)
    twice = 2 * torch.linalg.cross(axis, vector)
    return vector + w * twice + torch.linalg.cross(axis, twice)


def simulate(
    bodies: Bodies,
    duration_s: float,
    frames_per_s: float = 30.0,
    gravity: float = GRAVITY,
    steps_per_s: int = 240,
) -> Motion:
    """The bodies' tracks over some seconds, from time 0.

    Raises InputError for bodies that no world has (see `steps`) or a duration or rate that is not positive.
    """
    if not duration_s > 0 or not frames_per_s > 0:
        raise InputError(f"simulate: {duration_s} s at {frames_per_s} frames a second; expected both above 0")
    count = round(duration_s * frames_per_s)
    per_frame = max(1, math.ceil(steps_per_s / frames_per_s))
    states = [bodies]
    for number, state in enumerate(steps(bodies, 1 / (frames_per_s * per_frame), count * per_frame, gravity), 1):
        if number % per_frame == 0:
            states.append(state)
    time_s = torch.arange(count + 1, dtype=torch.float32) / frames_per_s
    return Motion(
        time_s.expand(len(bodies.kind), -1),
        torch.stack([state.position for state in states], 2).float(),
        torch.stack([state.rotation for state in states], 2).float(),
    )


def steps(bodies: Bodies, step_s: float, count: int, gravity: float = GRAVITY, substeps: int = 4) -> Iterator[Bodies]:
    """The state after each of `count` steps of `step_s` seconds. A world does not depend on the others of the batch.

    Raises InputError for numbers that are not finite, sizes that are not positive, shapes other than balls and boxes,
    or where numba is missing.
    """
    _check(bodies)
    try:
        from worldgen.scenes.physics.solver import World
    except ImportError as error:
        raise InputError("physics needs numba; install it with: pip install 'worldgen[fast]'") from error
    worlds = [World(bodies, index) for index in range(len(bodies.kind))]
    for _ in range(count):
        for world in worlds:
            world.step(step_s, substeps, gravity)
        state = [np.stack([getattr(world, name) for world in worlds]) for name in World.STATE]
        yield replace(bodies, **dict(zip(World.STATE, map(torch.from_numpy, state))))


def _check(bodies: Bodies) -> None:
    for name in ("size", "mass", "restitution", "friction", "position", "rotation", "velocity", "spin"):
        if not bool(getattr(bodies, name).isfinite().all()):
            raise InputError(f"physics: {name} holds a number that is not finite; expected finite numbers")
    present = bodies.kind != Shape.NONE
    known = (bodies.kind == Shape.BALL) | (bodies.kind == Shape.BOX)
    if bool((present & ~known).any()):
        kinds = sorted({Shape(kind).name.lower() for kind in bodies.kind[present & ~known].tolist()})
        raise InputError(f"physics: bodies of shape {', '.join(kinds)}; expected balls and boxes")
    if bool((bodies.size[present] <= 0).any()) or bool((bodies.mass[present] < 0).any()):
        raise InputError("physics: a body of size 0 or negative mass; expected half extents above 0 and mass 0 or more")
    if bool((bodies.rotation[present].norm(dim=-1) < 1e-6).any()):
        raise InputError("physics: a rotation of length zero; expected unit quaternions (w, x, y, z)")
