"""The same bodies simulated by MuJoCo (Todorov, Erez and Tassa 2012), also cylinders and capsules: `[physics]`."""

from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch

from geometry.errors import InputError
from worldgen.scenes.motion import Motion
from worldgen.scenes.physics.bodies import GRAVITY, RigidBodies
from worldgen.scenes.shapes import Shape

_GEOMS = {Shape.BALL: "sphere", Shape.BOX: "box", Shape.CYLINDER: "cylinder", Shape.CAPSULE: "capsule"}


def simulate_mujoco(
    bodies: RigidBodies,
    duration_s: float,
    frames_per_s: float = 30.0,
    gravity: float = GRAVITY,
    step_s: float = 1 / 960,
) -> Motion:
    """The bodies' tracks over some seconds, as `worldgen.scenes.physics.dynamics.simulate` gives them.

    Balls, boxes, cylinders and capsules (upright in their own frame: size is radius, radius, half the whole height).
    MuJoCo has no restitution: bodies do not bounce.

    Args:
        bodies: Their state at time 0, n bodies in each of b worlds.
        duration_s: Seconds.
        frames_per_s: Moments a second at which the result has their poses.
        gravity: Metres per second squared, downwards.
        step_s: Seconds a step.

    Returns:
        Tracks of k = 1 + duration_s * frames_per_s moments.

    Raises:
        InputError: Other shapes, or MuJoCo is missing.
    """
    try:
        import mujoco
    except ImportError as error:
        raise InputError("MuJoCo is not installed; install it with: pip install 'worldgen[physics]'") from error
    tracks = [_world(mujoco, bodies, b, duration_s, frames_per_s, gravity, step_s) for b in range(len(bodies.kind))]
    position, rotation = (torch.from_numpy(np.stack(part)).float() for part in zip(*tracks))
    time_s = torch.arange(position.shape[2], dtype=torch.float32) / frames_per_s
    return Motion(time_s.expand(len(tracks), -1), position, rotation)


def _model(bodies: RigidBodies, b: int, gravity: float, step_s: float) -> str:
    """The world as MJCF."""
    root = ElementTree.Element("mujoco")
    option = {"timestep": f"{step_s}", "gravity": f"0 0 {-gravity}", "integrator": "implicitfast", "cone": "elliptic"}
    ElementTree.SubElement(root, "option", option)
    world = ElementTree.SubElement(root, "worldbody")
    # Of two bodies MuJoCo takes the larger friction, so the ground gets none.
    ElementTree.SubElement(world, "geom", {"type": "plane", "size": "100 100 1", "friction": "0 0 0"})
    for n, kind in enumerate(bodies.kind[b].tolist()):
        if kind == Shape.NONE:
            continue
        if kind not in _GEOMS:
            raise InputError(f"MuJoCo: a body of shape {Shape(kind).name.lower()}; expected {sorted(_GEOMS.values())}")

        def words(values: torch.Tensor) -> str:
            return " ".join(f"{value:.9g}" for value in values.tolist())

        pose = {"name": f"{n}", "pos": words(bodies.position[b, n]), "quat": words(bodies.rotation[b, n])}
        body = ElementTree.SubElement(world, "body", pose)
        if bodies.mass[b, n] > 0:
            ElementTree.SubElement(body, "freejoint")
        size = bodies.size[b, n].clone()
        if kind in (Shape.CYLINDER, Shape.CAPSULE):
            size = torch.stack([size[0], size[2] - (size[0] if kind == Shape.CAPSULE else 0)])
        mass = {"mass": f"{bodies.mass[b, n]:.9g}"} if bodies.mass[b, n] > 0 else {}
        grip = f"{bodies.friction[b, n]:.9g} 0 0"
        ElementTree.SubElement(
            body, "geom", {"type": _GEOMS[Shape(kind)], "size": words(size), "friction": grip, "condim": "3",
                           "solref": f"{4 * step_s} 1"} | mass,
        )  # fmt: skip
    return ElementTree.tostring(root, encoding="unicode")


def _world(
    mujoco: Any, bodies: RigidBodies, b: int, duration_s: float, frames_per_s: float, gravity: float, step_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positions [n, k, 3] and rotations [n, k, 4] of one world."""
    model = mujoco.MjModel.from_xml_string(_model(bodies, b, gravity, step_s))
    data = mujoco.MjData(model)
    present = [n for n, kind in enumerate(bodies.kind[b].tolist()) if kind != Shape.NONE]
    for joint, n in enumerate(n for n in present if bodies.mass[b, n] > 0):
        spin = bodies.spin[b, n].double().numpy()
        w, axis = bodies.rotation[b, n, 0].item(), -bodies.rotation[b, n, 1:].double().numpy()
        twice = 2 * np.cross(axis, spin)
        own = spin + w * twice + np.cross(axis, twice)  # a free joint's spin is in the body's frame
        data.qvel[6 * joint : 6 * joint + 6] = np.concatenate([bodies.velocity[b, n].double().numpy(), own])
    position, rotation = bodies.position[b].double().numpy(), bodies.rotation[b].double().numpy()
    frames = [(position.copy(), rotation.copy())]
    for frame in range(1, round(duration_s * frames_per_s) + 1):
        while data.time < frame / frames_per_s - step_s / 2:
            mujoco.mj_step(model, data)
        mujoco.mj_kinematics(model, data)
        for n in present:
            which = model.body(f"{n}").id
            position[n], rotation[n] = data.xpos[which], data.xquat[which]
        frames.append((position.copy(), rotation.copy()))
    return np.stack([p for p, _ in frames], 1), np.stack([r for _, r in frames], 1)
