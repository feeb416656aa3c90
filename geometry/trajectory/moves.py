"""Camera moves, by the names of the film set, composed into shots.

    shot = Shot.looking(eye, target).then(dolly(1.0), 2.0).then(pan(30) & truck(0.5), 3.0, "smooth").hold(1.0)
    cameras = shot.cameras(fps=24, hw=(480, 640))

A move is relative to where the camera is when it begins. Right, up and clockwise are positive, as the operator sees
them: a pan of 30 degrees looks further to the right, an orbit of 30 degrees carries the camera to its own right around
what it looks at.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix
from geometry.rotation.splines import natural_spline
from geometry.rotation.transforms import look_at, rigid, rotation_about
from geometry.shapes import Float

_UP = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class State:
    """Cameras at n moments: poses `world_from_camera` [n, 4, 4] and how much their focal length is multiplied, [n]."""

    pose: Float[torch.Tensor, "n 4 4"]
    zoom: Float[torch.Tensor, "n"]

    def moved(self, offset: Float[torch.Tensor, "n 3"]) -> "State":
        """Carried through the world, metres."""
        pose = self.pose.clone()
        pose[:, :3, 3] += offset
        return replace(self, pose=pose)

    def turned(self, rotation: Float[torch.Tensor, "n 3 3"]) -> "State":
        """Turned on the spot by rotations in the world."""
        return replace(self, pose=rigid(rotation @ self.pose[:, :3, :3], self.pose[:, :3, 3]))

    def around(self, rotation: Float[torch.Tensor, "n 3 3"], pivot: Float[torch.Tensor, "n 3"]) -> "State":
        """Carried and turned about points."""
        arm = (rotation @ (self.pose[:, :3, 3] - pivot)[..., None]).squeeze(-1)
        return State(rigid(rotation @ self.pose[:, :3, :3], pivot + arm), self.zoom)

    def facing(self, point: Float[torch.Tensor, "n 3"], offset: Float[torch.Tensor, "n 3"]) -> "State":
        """Carried through the world and turned, the shortest way, so that a point stays where it is in the image's
        directions."""
        before, after = point - self.pose[:, :3, 3], point - self.pose[:, :3, 3] - offset
        axis = torch.linalg.cross(before, after)
        angle = torch.atan2(axis.norm(dim=-1), (before * after).sum(-1))
        still = axis.norm(dim=-1, keepdim=True) < 1e-12
        return self.turned(rotation_about(torch.where(still, axis.new_tensor(_UP), axis), angle)).moved(offset)

    @property
    def right(self) -> Float[torch.Tensor, "n 3"]:
        """The cameras' right in the world."""
        return self.pose[:, :3, 0]

    @property
    def forward(self) -> Float[torch.Tensor, "n 3"]:
        """Where they look."""
        return self.pose[:, :3, 2]


@dataclass(frozen=True)
class Move:
    """(where cameras begin [n], how much of the move is done [n] in 0..1) -> where they are.

    `a & b` does both at once: what b does to the camera that a has moved, at every moment.
    """

    apply: Callable[[State, Float[torch.Tensor, "n"]], State]

    def __and__(self, other: "Move") -> "Move":
        return Move(lambda start, share: other.apply(self.apply(start, share), share))


def _vertical(angle_deg: torch.Tensor) -> torch.Tensor:
    """Rotations to the right as seen from above: about the world's vertical."""
    axis = angle_deg.new_tensor(_UP).expand(len(angle_deg), 3)
    return rotation_about(axis, -torch.deg2rad(angle_deg))


def dolly(metres: float) -> Move:
    """Forward along the optical axis; back if negative."""
    return Move(lambda start, share: start.moved(metres * share[:, None] * start.forward))


def truck(metres: float) -> Move:
    """To the camera's right, without turning."""
    return Move(lambda start, share: start.moved(metres * share[:, None] * start.right))


def pedestal(metres: float) -> Move:
    """Straight up in the world, without turning."""
    return Move(lambda start, share: start.moved(metres * share[:, None] * start.pose.new_tensor(_UP)))


def pan(degrees: float) -> Move:
    """Turn to the right on the spot, about the world's vertical."""
    return Move(lambda start, share: start.turned(_vertical(degrees * share)))


def tilt(degrees: float) -> Move:
    """Look further up, turning about the camera's own right."""
    return Move(lambda start, share: start.turned(rotation_about(start.right, torch.deg2rad(degrees * share))))


def roll(degrees: float) -> Move:
    """Tilt the camera clockwise about its optical axis: the image turns counter-clockwise."""
    return Move(lambda start, share: start.turned(rotation_about(start.forward, torch.deg2rad(degrees * share))))


def zoom(factor: float) -> Move:
    """Multiply the focal length, evenly in its logarithm."""
    _positive(factor, "zoom factor")
    return Move(lambda start, share: replace(start, zoom=start.zoom * factor**share))


def dolly_zoom(metres: float, distance: float) -> Move:
    """Forward while the focal length shrinks so that what is `distance` metres ahead keeps its size.

    Raises InputError where the camera would come to the subject or behind it.
    """
    _positive(distance, "distance")
    if not metres < distance:
        raise InputError(f"a dolly of {metres} m to a subject {distance} m ahead; expected less")

    def apply(start: State, share: torch.Tensor) -> State:
        return replace(dolly(metres).apply(start, share), zoom=start.zoom * (1 - metres * share / distance))

    return Move(apply)


def orbit(
    degrees: float,
    distance: float | None = None,
    pivot: Sequence[float] | None = None,
    rise: float = 0.0,
    closer: float = 0.0,
) -> Move:
    """Around a pivot to the camera's right, which stays where it is in the image; `rise` or `closer` make a spiral.

    distance, pivot  the pivot is this many metres ahead, or this world point: exactly one of both
    rise             metres upward in all
    closer           metres by which the distance to the pivot's vertical shrinks in all
    """
    if (distance is None) == (pivot is None):
        raise InputError(f"an orbit with distance {distance} and pivot {pivot}; expected exactly one of them")
    if distance is not None:
        _positive(distance, "distance")

    def apply(start: State, share: torch.Tensor) -> State:
        if pivot is not None:
            point = start.pose.new_tensor(pivot).expand(len(share), 3)
        else:
            point = start.pose[:, :3, 3] + (distance or 0.0) * start.forward
        state = start.around(_vertical(-degrees * share), point)
        outward = state.pose[:, :3, 3] - point
        flat = outward * outward.new_tensor([1.0, 1.0, 0.0])
        inward = -flat / flat.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        lift = flat.new_tensor(_UP) * rise
        return state.facing(point, share[:, None] * (closer * inward + lift))

    return Move(apply)


def crane(metres: float, distance: float) -> Move:
    """Up while what is `distance` metres ahead stays in the middle of the image."""
    _positive(distance, "distance")

    def apply(start: State, share: torch.Tensor) -> State:
        point = start.pose[:, :3, 3] + distance * start.forward
        return start.facing(point, metres * share[:, None] * start.pose.new_tensor(_UP))

    return Move(apply)


def figure_eight(width: float, height: float, distance: float) -> Move:
    """A lying eight of these sizes in the image's plane (Gerono's lemniscate), looking at what is `distance` ahead;
    ends where it began."""
    _positive(distance, "distance")

    def apply(start: State, share: torch.Tensor) -> State:
        point, turn = start.pose[:, :3, 3] + distance * start.forward, 2 * math.pi * share[:, None]
        aside = width / 2 * turn.sin() * start.right - height / 2 * (2 * turn).sin() * start.pose[:, :3, 1]
        return start.facing(point, aside)

    return Move(apply)


def lawnmower(length: float, spacing: float, rows: int) -> Move:
    """Rows of some length to and fro, each `spacing` to the right of the one before, at one height and without turning:
    along the horizontal part of the optical axis, or of the image's up where the camera looks straight down.

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

    def apply(start: State, share: torch.Tensor) -> State:
        knots, corner = share.new_tensor(at), share.new_tensor(places)
        index = torch.searchsorted(knots, share.contiguous(), right=True).clamp(1, len(at) - 1)
        part = ((share - knots[index - 1]) / (knots[index] - knots[index - 1]).clamp_min(1e-12))[:, None]
        along, aside = torch.lerp(corner[index - 1], corner[index], part).unbind(-1)
        level = start.pose.new_tensor([1.0, 1.0, 0.0])
        steep = start.forward[:, 2:].abs() > 0.999
        ahead = torch.where(steep, -start.pose[:, :3, 1], start.forward) * level
        ahead = torch.nn.functional.normalize(ahead, dim=-1)
        beside = torch.linalg.cross(ahead, start.pose.new_tensor(_UP).expand_as(ahead))
        return start.moved(along[:, None] * ahead + aside[:, None] * beside)

    return Move(apply)


def fly_through(poses: Float[torch.Tensor, "k 4 4"]) -> Move:
    """Through keyframe poses, at even times; the camera goes to the first one at once.

    Places and orientations are natural cubic splines (twice differentiable), orientations of quaternions brought back
    to unit length. Raises InputError for fewer than two poses.
    """
    if len(poses) < 2:
        raise InputError(f"a flight through {len(poses)} poses; expected at least 2")
    quaternion = quaternion_wxyz_from_matrix(poses[:, :3, :3].double())
    signs = torch.cat([torch.ones(1), torch.sign((quaternion[1:] * quaternion[:-1]).sum(-1)).cpu()]).to(quaternion)
    quaternion = quaternion * torch.where(signs == 0, 1.0, signs).cumprod(0)[:, None]
    knots = torch.cat([poses[:, :3, 3].double(), quaternion], -1)

    def apply(start: State, share: torch.Tensor) -> State:
        values = natural_spline(knots.to(share), share * (len(knots) - 1))
        return State(rigid(matrix_from_quaternion_wxyz(values[:, 3:]), values[:, :3]), start.zoom)

    return Move(apply)


def follow(path: Float[torch.Tensor, "k 3"], distance: float, height: float) -> Move:
    """Behind something that moves evenly through world points: `distance` metres behind along its way, `height` above,
    looking at it. Raises InputError for fewer than two points, or a path that stands still."""
    if len(path) < 2 or not bool((path.diff(dim=0).norm(dim=-1) > 0).all()):
        raise InputError(f"following {len(path)} points, some the same; expected two or more, each new")
    lengths = path.double().diff(dim=0).norm(dim=-1).cumsum(0)
    knots = torch.cat([lengths.new_zeros(1), lengths]) / lengths[-1]

    def apply(start: State, share: torch.Tensor) -> State:
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
        eye = here - distance * ahead + height * here.new_tensor(_UP)
        return State(look_at(eye, here), start.zoom)

    return Move(apply)


def handheld(degrees: float, metres: float, seed: int = 0, seconds: float = 1.0, rate_hz: float = 1.5) -> Move:
    """A hand's shake, of about so many degrees and metres (root mean square), that begins and ends at nothing.

    Sums of sines around `rate_hz` with phases of the seed; `seconds` is how long the move takes. Use it with `&`.
    """
    draw = torch.Generator().manual_seed(seed)
    waves = 6
    rate = rate_hz * 2 ** (2 * torch.rand(6, waves, generator=draw, dtype=torch.float64) - 1)
    phase = 2 * math.pi * torch.rand(6, waves, generator=draw, dtype=torch.float64)
    size = torch.tensor([degrees] * 3 + [metres] * 3, dtype=torch.float64) * math.sqrt(2 / waves)

    def apply(start: State, share: torch.Tensor) -> State:
        time = (share * seconds)[:, None, None]
        shake = (2 * math.pi * rate.to(share) * time + phase.to(share)).sin().sum(-1) * size.to(share)
        shake = shake * (4 * share * (1 - share)).clamp(0, 1).sqrt()[:, None]
        x, y, z = (rotation_about(start.pose[:, :3, n], torch.deg2rad(shake[:, n])) for n in range(3))
        offset = (start.pose[:, :3, :3] @ shake[:, 3:, None]).squeeze(-1)
        return start.moved(offset).turned(x @ y @ z)

    return Move(apply)


PROFILES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "even": lambda t: t,
    "smooth": lambda t: t * t * (3 - 2 * t),
    "speed_up": lambda t: t * t,
    "slow_down": lambda t: t * (2 - t),
}


@dataclass(frozen=True)
class Shot:
    """Moves one after another, from a first camera.

    start    its pose [4, 4], float64
    fov_deg  its field of view along the shorter side
    parts    moves with their seconds and the name of their speed profile (`PROFILES`)
    """

    start: Float[torch.Tensor, "4 4"]
    fov_deg: float = 50.0
    parts: tuple[tuple[Move, float, str], ...] = ()

    @staticmethod
    def looking(eye: Sequence[float], target: Sequence[float], fov_deg: float = 50.0) -> "Shot":
        """From a world point, looking at another, without roll."""
        here, there = (torch.tensor(list(point), dtype=torch.float64) for point in (eye, target))
        return Shot(look_at(here, there), fov_deg)

    def then(self, move: Move, seconds: float, profile: str = "even") -> "Shot":
        """The shot with a move after it. Raises InputError for no time, or an unknown profile."""
        _positive(seconds, "seconds of a move")
        if profile not in PROFILES:
            raise InputError(f"speed profile {profile!r}; expected one of {', '.join(PROFILES)}")
        return replace(self, parts=(*self.parts, (move, float(seconds), profile)))

    def hold(self, seconds: float) -> "Shot":
        """The shot, then standing still."""
        return self.then(Move(lambda start, share: start), seconds)

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return sum(seconds for _, seconds, _ in self.parts)

    def at(self, time_s: Float[torch.Tensor, "n"]) -> State:
        """Where the camera is at some moments; before the beginning and after the end it stands."""
        time = time_s.double()
        first = State(self.start.double()[None].to(time.device), torch.ones(1, dtype=torch.float64, device=time.device))
        pose, scale = first.pose.repeat(len(time), 1, 1), first.zoom.repeat(len(time))
        begun = 0.0
        for move, seconds, profile in self.parts:
            during = (time >= begun).nonzero().squeeze(-1)
            share = PROFILES[profile](((time[during] - begun) / seconds).clamp(0, 1))
            begin = State(first.pose.expand(len(during), -1, -1), first.zoom.expand(len(during)))
            here = move.apply(begin, share)
            pose[during], scale[during] = here.pose, here.zoom
            first = move.apply(first, PROFILES[profile](torch.ones_like(first.zoom)))
            begun += seconds
        return State(pose, scale)

    def cameras(self, fps: float, hw: tuple[int, int]) -> Cameras:
        """Cameras [f] at moments 0, 1 / fps, ... up to the end, with their times. float32.

        Raises InputError for a shot without moves, or frames a second that are not positive.
        """
        _positive(fps, "frames a second")
        if not self.parts:
            raise InputError("a shot without moves; expected at least one, or a hold")
        # The end itself is a moment too, but for rounding.
        time = torch.arange(math.floor(self.seconds * fps + 1e-6) + 1, dtype=torch.float64) / fps
        state = self.at(time)
        plain = Cameras.from_fov(state.pose, self.fov_deg, hw)
        K = plain.K.clone()
        K[:, 0, 0] *= state.zoom
        K[:, 1, 1] *= state.zoom
        return replace(plain, K=K, time_s=time).to(torch.float32)


def _positive(value: float, what: str) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise InputError(f"{what} {value}; expected more than 0")
