"""Camera moves, by the names of the film set.

    pan(30) & truck(0.5)

A move is relative to where the camera is when it begins. Right, up and clockwise are positive, as the operator sees
them: a pan of 30 degrees looks further to the right, an orbit of 30 degrees carries the camera to its own right around
what it looks at. `MOVES` names them all: camera scripts (`geometry.io.trajectories.camera_script`) and the
documentation are made from it. `geometry.trajectory.shots.Shot` puts moves one after another.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import Literal, get_args

import torch

from geometry.errors import InputError
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix
from geometry.rotation.splines import natural_spline
from geometry.rotation.transforms import look_at, rigid, rotation_about
from geometry.shapes import Float
from geometry.trajectory.camera_state import UP, CameraState
from geometry.values import as_value


@as_value
@dataclass(frozen=True)
class Move:
    """A camera's motion over any time: `apply(start, share)` is where cameras are when a share of it is done.

    `a & b` does both at once: what b does to the camera that a has moved, at every moment.

    Attributes:
        apply: From where the cameras begin (`CameraState` of n moments) and the share of the move that is done, [n] in
            0..1, to where they are then.
    """

    apply: Callable[[CameraState, Float[torch.Tensor, "n"]], CameraState]

    def __and__(self, other: "Move") -> "Move":
        return Move(lambda start, share: other.apply(self.apply(start, share), share))


def check_positive(value: float, what: str) -> None:
    """Raises InputError, naming the value, unless it is finite and more than 0."""
    if not (value > 0 and math.isfinite(value)):
        raise InputError(f"{what} {value}; expected more than 0")


def _turn_right(angle_deg: torch.Tensor) -> torch.Tensor:
    """Rotations about the world's vertical, clockwise as seen from above."""
    axis = angle_deg.new_tensor(UP).expand(len(angle_deg), 3)
    return rotation_about(axis, -torch.deg2rad(angle_deg))


def dolly(metres: float) -> Move:
    """Forward along the optical axis; back if negative."""
    return Move(lambda start, share: start.moved(metres * share[:, None] * start.forward))


def truck(metres: float) -> Move:
    """To the camera's right, without turning."""
    return Move(lambda start, share: start.moved(metres * share[:, None] * start.right))


def pedestal(metres: float) -> Move:
    """Straight up in the world, without turning."""
    return Move(lambda start, share: start.moved(metres * share[:, None] * start.pose.new_tensor(UP)))


def pan(degrees: float) -> Move:
    """Turn to the right on the spot, about the world's vertical."""
    return Move(lambda start, share: start.turned(_turn_right(degrees * share)))


def tilt(degrees: float) -> Move:
    """Look further up, turning about the camera's own right."""
    return Move(lambda start, share: start.turned(rotation_about(start.right, torch.deg2rad(degrees * share))))


def roll(degrees: float) -> Move:
    """Tilt the camera clockwise about its optical axis: the image turns counter-clockwise."""
    return Move(lambda start, share: start.turned(rotation_about(start.forward, torch.deg2rad(degrees * share))))


def zoom(factor: float) -> Move:
    """Multiply the focal length, evenly in its logarithm."""
    check_positive(factor, "zoom factor")
    return Move(lambda start, share: replace(start, zoom=start.zoom * factor**share))


def dolly_zoom(metres: float, distance: float) -> Move:
    """Forward while the focal length shrinks so that what is `distance` metres ahead keeps its size.

    Raises InputError where the camera would come to the subject or behind it.
    """
    check_positive(distance, "distance")
    if not metres < distance:
        raise InputError(f"a dolly of {metres} m to a subject {distance} m ahead; expected less")

    def apply(start: CameraState, share: torch.Tensor) -> CameraState:
        return replace(dolly(metres).apply(start, share), zoom=start.zoom * (1 - metres * share / distance))

    return Move(apply)


def orbit(
    degrees: float,
    distance: float | None = None,
    around: Sequence[float] | None = None,
    rise: float = 0.0,
    closer: float = 0.0,
) -> Move:
    """Around a pivot to the camera's right; the pivot stays where it is in the image. `rise` or `closer` make a spiral.

    distance, around  the pivot is this many metres ahead, or this world point: exactly one of both
    rise              metres upward in all
    closer            metres by which the distance to the pivot's vertical shrinks in all
    """
    if (distance is None) == (around is None):
        raise InputError(f"an orbit with distance {distance} and around {around}; expected exactly one of them")
    if distance is not None:
        check_positive(distance, "distance")

    def apply(start: CameraState, share: torch.Tensor) -> CameraState:
        if around is not None:
            point = start.pose.new_tensor(around).expand(len(share), 3)
        else:
            point = start.pose[:, :3, 3] + (distance or 0.0) * start.forward
        state = start.around(_turn_right(-degrees * share), point)
        outward = state.pose[:, :3, 3] - point
        flat = outward * outward.new_tensor([1.0, 1.0, 0.0])
        inward = -flat / flat.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        lift = flat.new_tensor(UP) * rise
        return state.facing(point, share[:, None] * (closer * inward + lift))

    return Move(apply)


def crane(metres: float, distance: float) -> Move:
    """Up while what is `distance` metres ahead stays in the middle of the image."""
    check_positive(distance, "distance")

    def apply(start: CameraState, share: torch.Tensor) -> CameraState:
        point = start.pose[:, :3, 3] + distance * start.forward
        return start.facing(point, metres * share[:, None] * start.pose.new_tensor(UP))

    return Move(apply)


def figure_eight(width: float, height: float, distance: float) -> Move:
    """A lying eight in the image's plane (Gerono's lemniscate) around what is `distance` ahead; ends where it began.

    width, height  of the eight, metres
    """
    check_positive(distance, "distance")

    def apply(start: CameraState, share: torch.Tensor) -> CameraState:
        point, turn = start.pose[:, :3, 3] + distance * start.forward, 2 * math.pi * share[:, None]
        aside = width / 2 * turn.sin() * start.right - height / 2 * (2 * turn).sin() * start.pose[:, :3, 1]
        return start.facing(point, aside)

    return Move(apply)


def lawnmower(length: float, spacing: float, rows: int) -> Move:
    """Rows of some length to and fro, each `spacing` to the right of the one before, at one height and without turning.

    Rows run along the horizontal part of the optical axis, or of the image's up where the camera looks straight down.
    Raises InputError for no rows.
    """
    if rows < 1:
        raise InputError(f"lawnmower of {rows} rows; expected at least 1")
    corners = [0.0, 0.0]
    places = [(0.0, 0.0)]
    for row in range(rows):
        corners[0] = length - corners[0]
        places.append((corners[0], corners[1]))
        if row < rows - 1:
            corners[1] += spacing
            places.append((corners[0], corners[1]))
    steps = [math.dist(a, b) for a, b in pairwise(places)]
    total = sum(steps) or 1.0
    at = [0.0, *accumulate(step / total for step in steps)]

    def apply(start: CameraState, share: torch.Tensor) -> CameraState:
        knots, corner = share.new_tensor(at), share.new_tensor(places)
        index = torch.searchsorted(knots, share.contiguous(), right=True).clamp(1, len(at) - 1)
        part = ((share - knots[index - 1]) / (knots[index] - knots[index - 1]).clamp_min(1e-12))[:, None]
        along, aside = torch.lerp(corner[index - 1], corner[index], part).unbind(-1)
        level = start.pose.new_tensor([1.0, 1.0, 0.0])
        steep = start.forward[:, 2:].abs() > 0.999
        ahead = torch.where(steep, -start.pose[:, :3, 1], start.forward) * level
        ahead = torch.nn.functional.normalize(ahead, dim=-1)
        beside = torch.linalg.cross(ahead, start.pose.new_tensor(UP).expand_as(ahead))
        return start.moved(along[:, None] * ahead + aside[:, None] * beside)

    return Move(apply)


def fly_through(poses: Float[torch.Tensor, "k 4 4"]) -> Move:
    """Through keyframe poses, at even times; the camera is at the first one at once.

    Positions and quaternions are natural cubic splines (twice differentiable); quaternions are brought back to unit
    length. Raises InputError for fewer than two poses.
    """
    if len(poses) < 2:
        raise InputError(f"a flight through {len(poses)} poses; expected at least 2")
    quaternion = quaternion_wxyz_from_matrix(poses[:, :3, :3].double())
    signs = torch.cat([torch.ones(1), torch.sign((quaternion[1:] * quaternion[:-1]).sum(-1)).cpu()]).to(quaternion)
    quaternion = quaternion * torch.where(signs == 0, 1.0, signs).cumprod(0)[:, None]
    knots = torch.cat([poses[:, :3, 3].double(), quaternion], -1)

    def apply(start: CameraState, share: torch.Tensor) -> CameraState:
        values = natural_spline(knots.to(share), share * (len(knots) - 1))
        return CameraState(rigid(matrix_from_quaternion_wxyz(values[:, 3:]), values[:, :3]), start.zoom)

    return Move(apply)


def follow(path: Float[torch.Tensor, "k 3"], distance: float, height: float) -> Move:
    """Behind something that moves evenly through world points, looking at it.

    distance, height  metres behind it along its way, and above it

    Raises InputError for fewer than two points, or a path that stands still.
    """
    if len(path) < 2 or not bool((path.diff(dim=0).norm(dim=-1) > 0).all()):
        raise InputError(f"following {len(path)} points, some the same; expected two or more, each new")
    lengths = path.double().diff(dim=0).norm(dim=-1).cumsum(0)
    knots = torch.cat([lengths.new_zeros(1), lengths]) / lengths[-1]

    def apply(start: CameraState, share: torch.Tensor) -> CameraState:
        points, when = path.to(share), knots.to(share)
        # Even speed: the spline's parameter at each share of the way.
        index = torch.searchsorted(when, share.contiguous(), right=True).clamp(1, len(when) - 1)
        at = index - 1 + (share - when[index - 1]) / (when[index] - when[index - 1])
        here = natural_spline(points, at)
        step = 1e-3
        ahead = natural_spline(points, (at + step).clamp_max(len(points) - 1)) - natural_spline(
            points, (at - step).clamp_min(0)
        )
        ahead = torch.nn.functional.normalize(ahead * ahead.new_tensor([1.0, 1.0, 0.0]), dim=-1)
        eye = here - distance * ahead + height * here.new_tensor(UP)
        return CameraState(look_at(eye, here), start.zoom)

    return Move(apply)


def handheld(degrees: float, shift: float = 0.0, seed: int = 0, seconds: float = 1.0, rate_hz: float = 1.5) -> Move:
    """A hand's shake of about these degrees and metres (root mean square), which begins and ends at nothing.

    Sums of sines around `rate_hz` with phases drawn from the seed; `seconds` is how long the move takes. Use it with
    `&`.
    """
    draw = torch.Generator().manual_seed(seed)
    waves = 6
    rate = rate_hz * 2 ** (2 * torch.rand(6, waves, generator=draw, dtype=torch.float64) - 1)
    phase = 2 * math.pi * torch.rand(6, waves, generator=draw, dtype=torch.float64)
    size = torch.tensor([degrees] * 3 + [shift] * 3, dtype=torch.float64) * math.sqrt(2 / waves)

    def apply(start: CameraState, share: torch.Tensor) -> CameraState:
        time = (share * seconds)[:, None, None]
        shake = (2 * math.pi * rate.to(share) * time + phase.to(share)).sin().sum(-1) * size.to(share)
        shake = shake * (4 * share * (1 - share)).clamp(0, 1).sqrt()[:, None]
        x, y, z = (rotation_about(start.pose[:, :3, n], torch.deg2rad(shake[:, n])) for n in range(3))
        offset = (start.pose[:, :3, :3] @ shake[:, 3:, None]).squeeze(-1)
        return start.moved(offset).turned(x @ y @ z)

    return Move(apply)


Quantity = Literal["length", "angle", "time", "factor", "count", "point", "points", "poses"]
"""What an argument of a move measures: metres, degrees, seconds, a factor, a whole number; a world point, a list of
them, or a list of camera poses."""


@dataclass(frozen=True)
class MoveSpec:
    """A move as `MOVES` knows it: what makes it, and what its arguments measure.

        MOVES["wobble"] = MoveSpec(wobble, "angle", {"period": "time"})

    makes `wobble: {by: 2 deg, period: 0.5 s}` a line of camera scripts.

    Attributes:
        make: Makes the `Move`. The first paragraph of its docstring describes the move. If it takes an argument named
            `seconds` that is not in `arguments`, it gets how long the move takes.
        by: What its first argument measures.
        arguments: What its other arguments measure, by name. Those without a default have to be given.
    """

    make: Callable[..., Move]
    by: Quantity
    arguments: Mapping[str, Quantity] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, quantity in {"by": self.by, **self.arguments}.items():
            if quantity not in get_args(Quantity):
                raise InputError(f"a move's {name} of quantity {quantity!r}; expected one of {get_args(Quantity)}")
        first, *others = inspect.signature(self.make).parameters or [""]
        unknown = [name for name in self.arguments if name not in others]
        if unknown:
            raise InputError(f"a move's argument {unknown[0]!r}; expected one of {', '.join(others) or 'none'}")
        missing = [name for name in self._needed() if name not in (first, "seconds", *self.arguments)]
        if missing:
            raise InputError(f"a move whose {missing[0]!r} cannot be given; expected it among its arguments")

    @property
    def required(self) -> tuple[str, ...]:
        """The arguments, after the first, that have to be given."""
        return tuple(name for name in self._needed() if name in self.arguments)

    @property
    def timed(self) -> bool:
        """Whether it gets how long the move takes."""
        return "seconds" in inspect.signature(self.make).parameters and "seconds" not in self.arguments

    @property
    def doc(self) -> str:
        """What the move does, in a line."""
        return " ".join((inspect.getdoc(self.make) or "").split("\n\n")[0].split())

    def _needed(self) -> list[str]:
        parameters = inspect.signature(self.make).parameters.values()
        return [parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty]


MOVES: dict[str, MoveSpec] = {
    "dolly": MoveSpec(dolly, "length"),
    "truck": MoveSpec(truck, "length"),
    "pedestal": MoveSpec(pedestal, "length"),
    "pan": MoveSpec(pan, "angle"),
    "tilt": MoveSpec(tilt, "angle"),
    "roll": MoveSpec(roll, "angle"),
    "zoom": MoveSpec(zoom, "factor"),
    "dolly_zoom": MoveSpec(dolly_zoom, "length", {"distance": "length"}),
    "orbit": MoveSpec(orbit, "angle", {"distance": "length", "around": "point", "rise": "length", "closer": "length"}),
    "crane": MoveSpec(crane, "length", {"distance": "length"}),
    "figure_eight": MoveSpec(figure_eight, "length", {"height": "length", "distance": "length"}),
    "lawnmower": MoveSpec(lawnmower, "length", {"spacing": "length", "rows": "count"}),
    "handheld": MoveSpec(handheld, "angle", {"shift": "length", "seed": "count"}),
    "follow": MoveSpec(follow, "points", {"distance": "length", "height": "length"}),
    "fly_through": MoveSpec(fly_through, "poses"),
}
