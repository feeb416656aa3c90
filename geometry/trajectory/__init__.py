"""Where cameras go: moves and shots, paths, checks, and errors against a true path.

The moves themselves (`dolly`, `pan`, ...) are in `geometry.trajectory.moves`.
"""

from geometry.trajectory.camera_state import CameraState
from geometry.trajectory.checks import describe, lint
from geometry.trajectory.metrics import TrajectoryErrors, ate, rpe, trajectory_errors
from geometry.trajectory.moves import MOVES, Move, MoveSpec
from geometry.trajectory.paths import nearest_point_to_axes, orbit
from geometry.trajectory.shots import SPEED_PROFILES, Shot

__all__ = [
    "MOVES",
    "SPEED_PROFILES",
    "CameraState",
    "Move",
    "MoveSpec",
    "Shot",
    "TrajectoryErrors",
    "ate",
    "describe",
    "lint",
    "nearest_point_to_axes",
    "orbit",
    "rpe",
    "trajectory_errors",
]
