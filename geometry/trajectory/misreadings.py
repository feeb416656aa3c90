"""Poses that were read by another convention than they were written in: what gives it away.

Poses alone say nothing of their convention, but real captures are not any poses. Cameras around an object look at one
point, all from in front of it. Cameras on the ground are level. A vehicle moves along one axis of its camera. Where the
poses have none of this and the same numbers read in another way have it exactly, that other way is what was meant.
Poses that nearly all look in one direction tell nothing, and nothing is found in them.
"""

from dataclasses import dataclass

import torch

from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix
from geometry.rotation.transforms import invert_rigid, rigid
from geometry.shapes import Float
from geometry.trajectory.paths import nearest_point_to_axes

INVERTED = "only the inverse poses look at a common point, are level or move steadily: camera_from_world for ours?"
BEHIND = "what all cameras have in common lies behind them: OpenGL axes (looking along -z), or LLFF's, for OpenCV's?"
UPSIDE_DOWN = "the cameras are level and upside down: OpenGL axes for OpenCV's, or a world with z down?"
ROLLED = "the cameras are rolled by a quarter turn: axes of LLFF (down, right, backwards), or images on their side?"
QUATERNIONS = "the poses make sense only with their quaternions' parts in another order: w x y z for x y z w?"
_FEWEST, _STEPS = 3, 8


@dataclass(frozen=True)
class _Signs:
    """What poses look like.

    miss, ahead  of the point nearest to all axes: how far they miss it, as a share of its distance, and the share of
                 cameras that have it in front of them
    spread       the length of the mean viewing direction; 1 where all look the same way
    tilt         mean |z| of the right axes: 0 for level cameras in a world with z up
    up           mean z of the up axes
    steady       the mean direction of motion in camera axes, of a length of 1 where it never changes
    turning      the length of the mean direction of motion in the world
    """

    miss: float
    ahead: float
    spread: float
    tilt: float
    up: float
    steady: Float[torch.Tensor, "3"]
    turning: float

    @property
    def wide(self) -> bool:
        """Whether the cameras look in directions that differ enough to say something."""
        return self.spread < 0.97

    @property
    def convergent(self) -> bool:
        return self.wide and self.miss < 0.15 and self.ahead > 0.9

    @property
    def level(self) -> bool:
        return self.wide and self.tilt < 0.03 and self.up > 0.3

    @property
    def driven(self) -> bool:
        return self.turning < 0.9 and float(self.steady.norm()) > 0.9


def misreadings(world_from_camera: Float[torch.Tensor, "n 4 4"], one_camera: bool) -> list[str]:
    """How poses were probably misread.

    Args:
        world_from_camera: rigid poses, OpenCV axes; in order of time where they are of one camera.
        one_camera: whether they are of one physical camera.

    Returns:
        At most one finding.
    """
    poses = world_from_camera.double()
    if len(poses) < _FEWEST:
        return []
    here = _signs(poses, one_camera)
    if here.wide and here.up < -0.97 and here.tilt < 0.1:
        return [UPSIDE_DOWN]
    if here.wide and here.miss < 0.15 and here.ahead < 0.1 and here.up < 0.5:
        return [BEHIND]
    if here.driven and float(here.steady[2]) < -0.8:
        return [BEHIND]
    there = _signs(invert_rigid(poses), one_camera)
    if not here.convergent and here.miss > 0.3 and _clearer(there, here):
        return [INVERTED]
    if here.convergent or here.level or here.driven:
        return [ROLLED] if _rolled(poses, here) else []
    if _clearer(there, here) or (there.level and here.tilt > 0.2) or (there.driven and _unsteady(here)):
        return [INVERTED]
    for shift in (1, -1):
        wxyz = quaternion_wxyz_from_matrix(poses[:, :3, :3]).roll(shift, -1)
        other = _signs(rigid(matrix_from_quaternion_wxyz(wxyz), poses[:, :3, 3]), one_camera)
        if _clearer(other, here) or (other.driven and _unsteady(here)):
            return [QUATERNIONS]
    return [ROLLED] if _rolled(poses, here) else []


def _clearer(other: _Signs, here: _Signs) -> bool:
    """Whether only the other reading looks at one point. Level cameras are not doubted."""
    return other.convergent and here.miss > 2 * other.miss and here.tilt > 0.1


def _unsteady(signs: _Signs) -> bool:
    return float(signs.steady.norm()) < 0.5


def _rolled(poses: Float[torch.Tensor, "n 4 4"], signs: _Signs) -> bool:
    """Whether the down axes are what right axes of real captures are: level, in one plane, unlike the right axes."""
    if not signs.wide:
        return False
    right, down = ((poses[:, :3, axis, None] * poses[:, None, :3, axis]).mean(0) for axis in (0, 1))
    flat_right, flat_down = (float(torch.linalg.eigvalsh(moment)[0]) for moment in (right, down))
    always_right = float(poses[:, :3, 0].mean(0).norm()) > 0.98 and signs.spread < 0.9
    return signs.tilt > 0.9 or always_right or (flat_right > 0.05 and flat_down < 0.01)


def _signs(poses: Float[torch.Tensor, "n 4 4"], one_camera: bool) -> _Signs:
    miss, ahead = convergence(poses)
    steady, turning = torch.zeros(3, dtype=poses.dtype), 1.0
    step = poses[1:, :3, 3] - poses[:-1, :3, 3]
    length = step.norm(dim=-1)
    moved = length > 1e-9
    if one_camera and int(moved.sum()) >= _STEPS:
        step = (step / length[:, None])[moved]
        steady = (poses[:-1][moved][:, :3, :3].mT @ step[..., None])[..., 0].mean(0)
        turning = float(step.mean(0).norm())
    return _Signs(
        miss, ahead, float(poses[:, :3, 2].mean(0).norm()), float(poses[:, 2, 0].abs().mean()),
        float(-poses[:, 2, 1].mean()), steady, turning,
    )  # fmt: skip


def convergence(poses: Float[torch.Tensor, "n 4 4"]) -> tuple[float, float]:
    """How far the optical axes miss the point nearest to all of them, and the share of cameras that have it ahead.

    The miss is a share of the point's distance, the median over cameras; (1, 0) for cameras in one place.
    """
    if float((poses[:, :3, 3] - poses[:, :3, 3].mean(0)).norm(dim=-1).max()) < 1e-9:
        return 1.0, 0.0
    point = nearest_point_to_axes(poses)
    towards = point - poses[:, :3, 3]
    along = (towards * poses[:, :3, 2]).sum(-1)
    beside = (towards - along[:, None] * poses[:, :3, 2]).norm(dim=-1)
    return float((beside / towards.norm(dim=-1).clamp_min(1e-12)).median()), float((along > 0).double().mean())
