"""Rigid balls and boxes under gravity: flight, bounces, rolling, sliding, collisions and stacks.

Soft contacts solved in small steps (Macklin et al. 2019, "Small steps in physics simulation"; Catto 2024, "Solver2D":
the soft step solver): every step finds the contacts once; each of its substeps solves the velocities with springs that
push overlapping bodies apart, moves the bodies, and solves the velocities again without the springs, so that these add
no energy. Contacts are found before bodies touch, and let them close the gap but no more. Needs numba (the `[fast]`
extra).
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from geometry.errors import InputError
from worldgen.scenes.motion import Motion
from worldgen.scenes.physics.bodies import GRAVITY, RigidBodies
from worldgen.scenes.shapes import Shape


def simulate(
    bodies: RigidBodies,
    duration_s: float,
    frames_per_s: float = 30.0,
    gravity: float = GRAVITY,
    steps_per_s: int = 240,
) -> Motion:
    """The bodies' tracks over some seconds, from time 0.

    Args:
        bodies: Their state at time 0, n bodies in each of b worlds.
        duration_s: Seconds.
        frames_per_s: Moments a second at which the result has their poses.
        gravity: Metres per second squared, downwards.
        steps_per_s: Steps of the solver a second, at least.

    Returns:
        Tracks of k = 1 + duration_s * frames_per_s moments.

    Raises:
        InputError: A duration or rate that is not positive, and whatever `steps` refuses.
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


def steps(
    bodies: RigidBodies, step_s: float, count: int, gravity: float = GRAVITY, substeps: int = 4
) -> Iterator[RigidBodies]:
    """The state after each step. A world does not depend on the others of the batch.

    Args:
        bodies: Their state at the start, n bodies in each of b worlds.
        step_s: Seconds a step.
        count: Number of steps.
        gravity: Metres per second squared, downwards.
        substeps: Parts of a step; contacts are found once a step.

    Yields:
        The bodies after each step.

    Raises:
        InputError: NaN or Inf, sizes that are not positive, shapes other than balls and boxes, or numba is missing.
    """
    _check(bodies)
    try:
        from worldgen.scenes.physics.solver import Simulation
    except ImportError as error:
        raise InputError("physics needs numba; install it with: pip install 'worldgen[fast]'") from error
    worlds = [Simulation(bodies, index) for index in range(len(bodies.kind))]
    for _ in range(count):
        for world in worlds:
            world.step(step_s, substeps, gravity)
        state = [np.stack([getattr(world, name) for world in worlds]) for name in Simulation.STATE]
        yield replace(bodies, **dict(zip(Simulation.STATE, map(torch.from_numpy, state))))


def _check(bodies: RigidBodies) -> None:
    for name in ("size", "mass", "restitution", "friction", "position", "rotation", "velocity", "spin"):
        if not bool(getattr(bodies, name).isfinite().all()):
            raise InputError(f"physics: {name} with NaN or Inf; expected finite numbers")
    present = bodies.kind != Shape.NONE
    known = (bodies.kind == Shape.BALL) | (bodies.kind == Shape.BOX)
    if bool((present & ~known).any()):
        kinds = sorted({Shape(kind).name.lower() for kind in bodies.kind[present & ~known].tolist()})
        raise InputError(f"physics: bodies of shape {', '.join(kinds)}; expected balls and boxes")
    if bool((bodies.size[present] <= 0).any()) or bool((bodies.mass[present] < 0).any()):
        raise InputError("physics: a body of size 0 or negative mass; expected half extents above 0 and mass 0 or more")
    if bool((bodies.rotation[present].norm(dim=-1) < 1e-6).any()):
        raise InputError("physics: a quaternion of length 0; expected unit quaternions (w, x, y, z)")
