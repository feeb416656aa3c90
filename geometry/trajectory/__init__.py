"""Where cameras go: moves and shots, paths, checks, and errors against a true path.

The moves themselves (`dolly`, `pan`, ...) are in `geometry.trajectory.moves`.
"""

from geometry.trajectory.camera_state import CameraState
from geometry.trajectory.checks import describe, float32_holds, lint
from geometry.trajectory.metrics import TrajectoryErrors, ate, rpe, trajectory_errors
from geometry.trajectory.moves import MOVES, Move, MoveSpec
from geometry.trajectory.paths import nearest_point_to_axes, orbit
from geometry.trajectory.shots import SPEED_PROFILES, Shot
from geometry.trajectory.up import Up, estimate_up, level_from_world, parse_up

__all__ = [
    "MOVES",
    "SPEED_PROFILES",
    "CameraState",
    "Move",
    "MoveSpec",
    "Shot",
    "TrajectoryErrors",
    "Up",
    "ate",
    "describe",
    "estimate_up",
    "float32_holds",
    "level_from_world",
    "lint",
    "nearest_point_to_axes",
    "orbit",
    "parse_up",
    "rpe",
    "trajectory_errors",
]
