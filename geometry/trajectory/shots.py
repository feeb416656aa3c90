"""Shots: camera moves one after another, each with its time and speed.

shot = Shot.looking(eye, target).then(dolly(1.0), 2.0).then(pan(30) & truck(0.5), 3.0, "smooth").hold(1.0)
cameras = shot.cameras(fps=24, hw=(480, 640))
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.rotation.transforms import look_at
from geometry.shapes import Float
from geometry.trajectory.camera_state import CameraState
from geometry.trajectory.moves import Move, check_positive
from geometry.values import as_value

# How a move's speed changes: from the share of its time that has passed to the share of the move that is done.
SPEED_PROFILES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "even": lambda t: t,
    "smooth": lambda t: t * t * (3 - 2 * t),
    "speed_up": lambda t: t * t,
    "slow_down": lambda t: t * (2 - t),
}


@as_value
@dataclass(frozen=True)
class Shot:
    """Moves one after another, from a first camera.

    Attributes:
        start: The first camera's `world_from_camera` [4, 4], float64.
        fov_deg: Its field of view along the shorter side, degrees.
        parts: The moves, each with its seconds and the name of its speed profile (`SPEED_PROFILES`).
    """

    start: Float[torch.Tensor, "4 4"]
    fov_deg: float = 50.0
    parts: tuple[tuple[Move, float, str], ...] = ()

    @staticmethod
    def looking(eye: Sequence[float], target: Sequence[float], fov_deg: float = 50.0) -> "Shot":
        """A shot without moves yet, from a world point, looking at another, without roll.

        Args:
            eye: Where the camera is, metres.
            target: Where it looks, metres.
            fov_deg: Its field of view along the shorter side, degrees.

        Raises:
            InputError: If both points are the same.
        """
        here, there = (torch.tensor(list(point), dtype=torch.float64) for point in (eye, target))
        return Shot(look_at(here, there), fov_deg)

    def then(self, move: Move, seconds: float, profile: str = "even") -> "Shot":
        """The shot with a move after it.

        Args:
            move: What the camera does (`geometry.trajectory.moves`).
            seconds: How long it takes.
            profile: How its speed changes, a name in `SPEED_PROFILES`.

        Raises:
            InputError: If the time is not positive or the profile not known.
        """
        check_positive(seconds, "seconds of a move")
        if profile not in SPEED_PROFILES:
            raise InputError(f"speed profile {profile!r}; expected one of {', '.join(SPEED_PROFILES)}")
        return replace(self, parts=(*self.parts, (move, float(seconds), profile)))

    def hold(self, seconds: float) -> "Shot":
        """The shot, after which the camera stands still for some seconds."""
        return self.then(Move(lambda start, share: start), seconds)

    @property
    def seconds(self) -> float:
        """How long all moves take together."""
        return sum(seconds for _, seconds, _ in self.parts)

    def at(self, time_s: Float[torch.Tensor, "n"]) -> CameraState:
        """Where the camera is at some moments (seconds); before the beginning and after the end it stands still."""
        time = time_s.double()
        first = CameraState(
            self.start.double()[None].to(time.device), torch.ones(1, dtype=torch.float64, device=time.device)
        )
        pose, scale = first.pose.repeat(len(time), 1, 1), first.zoom.repeat(len(time))
        begun = 0.0
        for move, seconds, profile in self.parts:
            during = (time >= begun).nonzero().squeeze(-1)
            share = SPEED_PROFILES[profile](((time[during] - begun) / seconds).clamp(0, 1))
            begin = CameraState(first.pose.expand(len(during), -1, -1), first.zoom.expand(len(during)))
            here = move.apply(begin, share)
            pose[during], scale[during] = here.pose, here.zoom
            first = move.apply(first, SPEED_PROFILES[profile](torch.ones_like(first.zoom)))
            begun += seconds
        return CameraState(pose, scale)

    def cameras(self, fps: float, hw: tuple[int, int]) -> Cameras:
        """Cameras at moments 0, 1 / fps, ... up to the end, with their times.

        Args:
            fps: Frames per second.
            hw: Height and width of the images in pixels.

        Returns:
            Cameras [f] in float32.

        Raises:
            InputError: If the shot has no moves or `fps` is not positive.
        """
        check_positive(fps, "frames a second")
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
