"""Rigid balls and boxes under gravity.

bodies    their state, inertia, momentum and energy
dynamics  `simulate`: their tracks over some seconds
solver, contacts  one step, compiled by numba
mujoco    the same by MuJoCo
"""

from worldgen.scenes.physics.bodies import GRAVITY, RigidBodies
from worldgen.scenes.physics.dynamics import simulate, steps
from worldgen.scenes.physics.mujoco import simulate_mujoco

__all__ = ["GRAVITY", "RigidBodies", "simulate", "simulate_mujoco", "steps"]
