"""`RigidBodies`: the state of balls and boxes, their inertia, momentum and energy."""

from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.shapes import Float, Int
from geometry.values import as_value
from worldgen.scenes.shapes import Shape

GRAVITY = 9.81  # metres per second squared


@as_value
@dataclass(frozen=True)
class RigidBodies:
    """The state of n balls and boxes in each of b worlds on the ground z = 0. SI units, float64.

    Attributes:
        kind: [b, n] `Shape.BALL`, `Shape.BOX` or `Shape.NONE`.
        size: [b, n, 3] half extents (a ball's radius in all three).
        mass: [b, n] kg; 0 = does not move.
        restitution: [b, n]; a pair takes the larger one, and the ground has the body's own.
        friction: [b, n]; a pair takes the geometric mean, and the ground has the body's own.
        position: [b, n, 3].
        rotation: [b, n, 4] world from body, wxyz.
        velocity: [b, n, 3].
        spin: [b, n, 3] in the world, radians per second.
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
