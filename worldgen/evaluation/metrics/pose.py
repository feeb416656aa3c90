"""Camera control: where generated views seem to have been taken from, against the requested cameras.

The scenes are known exactly, so a view's pose is found by rendering and comparing: no feature matching, which fails on
small or smooth images and then drops the clips it fails on. The estimator has a floor of its own (true images,
started off the truth), which belongs beside every figure.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import rigid, rotation_about
from geometry.shapes import Float
from geometry.trajectory.metrics import angle_of

BLURS = (1 / 16, 1 / 32, 1 / 96)  # standard deviations of the three levels, in image sides
_ROUNDS = 6  # of Gauss-Newton a level
_STEP = 0.35  # of finite differences, in blurs of image motion
_DONE = 0.02  # of a finite difference: when all steps are smaller, a level is done
_HUBER = 0.1  # residual of a pixel beyond which it counts by its amount, not its square

Renderer = Callable[[Cameras], Tensor]  # cameras [b, f] of b scenes -> rgb [b, f, 3, h, w]


def moved(cameras: Cameras, motion: Float[Tensor, "*b 6"], reach: Float[Tensor, "*b"]) -> Cameras:
    """Cameras turned about their own axes by motion[..., :3] (radians) and shifted along them by motion[..., 3:] times
    `reach` (metres): both parts move the image of a thing at that distance by as much."""
    angle = motion[..., :3].norm(dim=-1)
    axis = torch.where(angle[..., None] > 1e-12, motion[..., :3], motion.new_tensor([0.0, 0.0, 1.0]))
    step = rigid(rotation_about(axis, angle), motion[..., 3:] * reach[..., None])
    return replace(cameras, world_from_camera=cameras.world_from_camera @ step)


def find_poses(
    images: Float[Tensor, "b t 3 h w"], start: Cameras, renderer: Renderer, reach: Float[Tensor, "b t"]
) -> tuple[Cameras, Float[Tensor, "b t"]]:
    """Find the cameras from which renders of the known scenes match the images best.

    Damped Gauss-Newton (Levenberg 1944, Marquardt 1963) in six parameters on images blurred less and less, with central
    differences of whole renders, so that silhouettes count exactly; residuals have Huber's weight (Huber 1964). A step
    is kept only if it lowers the cost, so an image without a match stays near `start` instead of being lost.

    Args:
        images: Images [b, t, 3, h, w] of b scenes, sRGB in 0..1.
        start: Cameras [b, t] where the search begins: the requested ones.
        renderer: Renders the scenes: cameras [b, f] -> rgb [b, f, 3, h, w].
        reach: Distance in metres to what the images show; it makes turns and shifts alike in size.

    Returns:
        The cameras [b, t], and the RMS residual [b, t] in 0..1 of images under the least blur.
    """
    side, focal = images.shape[-1], start.K[..., 0, 0]
    cameras, residual = start, torch.full(start.shape, torch.inf)
    for blur in BLURS:
        target = blurred(images, blur * side)

        def look(now: Cameras, sigma_px: float = blur * side) -> Tensor:
            return blurred(renderer(now), sigma_px)

        def cost_of(now: Cameras, target: Tensor = target) -> tuple[Tensor, Tensor]:
            difference = look(now) - target
            return difference, _huber(difference).mean((-3, -2, -1))

        step = _STEP * blur * side / focal
        damping = torch.full(start.shape, 1e-3)
        difference, cost = cost_of(cameras)
        for _ in range(_ROUNDS):
            change = _gauss_newton(cameras, reach, step, difference, damping, look)
            proposal = moved(cameras, change, reach)
            new_difference, new_cost = cost_of(proposal)
            better = new_cost < cost
            cameras = replace(
                cameras,
                world_from_camera=torch.where(
                    better[..., None, None], proposal.world_from_camera, cameras.world_from_camera
                ),
            )
            difference = torch.where(better[..., None, None, None], new_difference, difference)
            cost = torch.where(better, new_cost, cost)
            damping = torch.where(better, damping / 4, damping * 8).clamp(1e-6, 1e3)
            if bool((change.abs().amax(-1) < _DONE * step).all()):
                break
        residual = difference.square().mean((-3, -2, -1)).sqrt()
    return cameras, residual


def _gauss_newton(
    cameras: Cameras, reach: Tensor, step: Tensor, difference: Tensor, damping: Tensor, render: Renderer
) -> Tensor:
    """The damped step [b, t, 6]: twelve renders around each camera in one call."""
    count = cameras.shape[1]
    unit = torch.eye(6)
    around = torch.cat([unit, -unit])  # [12, 6]
    motion = around[:, None, None] * step[..., None]  # [12, b, t, 6]
    every = [moved(cameras, m, reach) for m in motion]
    renders = render(Cameras.cat(every)).unflatten(1, (12, count)).movedim(1, 0)  # [12, b, t, 3, h, w]
    jacobian = (renders[:6] - renders[6:]) / (2 * step[..., None, None, None])
    weight = (_HUBER / difference.abs().clamp_min(_HUBER)).flatten(2)
    columns = jacobian.flatten(3).permute(1, 2, 0, 3)  # [b, t, 6, n]
    normal = torch.einsum("btin,btn,btjn->btij", columns, weight, columns)
    right = torch.einsum("btin,btn,btn->bti", columns, weight, difference.flatten(2))
    diagonal = normal.diagonal(dim1=-2, dim2=-1)
    ridge = damping[..., None] * diagonal + 1e-9 * diagonal.amax(-1, keepdim=True) + 1e-12
    change = -torch.linalg.solve(normal + torch.diag_embed(ridge), right)
    largest = change.abs().amax(-1, keepdim=True)
    limit = 4 * step[..., None] / _STEP  # no farther than four blurs, beyond which the linear image means nothing
    return change * (limit / largest.clamp_min(1e-12)).clamp_max(1.0)


def _huber(difference: Tensor) -> Tensor:
    size = difference.abs()
    return torch.where(size < _HUBER, size.square() / 2, _HUBER * (size - _HUBER / 2))


def blurred(images: Float[Tensor, "*b c h w"], sigma_px: float) -> Float[Tensor, "*b c h w"]:
    """Images [..., h, w] under a Gaussian, borders repeated."""
    reach = max(1, math.ceil(3 * sigma_px))
    taps = torch.exp(-(torch.arange(-reach, reach + 1).to(images) ** 2) / (2 * sigma_px**2))
    taps = taps / taps.sum()
    flat = images.reshape(-1, 1, *images.shape[-2:])
    flat = torch.nn.functional.pad(flat, (reach, reach, reach, reach), mode="replicate")
    flat = torch.nn.functional.conv2d(flat, taps.view(1, 1, -1, 1))
    return torch.nn.functional.conv2d(flat, taps.view(1, 1, 1, -1)).view(images.shape)


def pose_errors(found: Cameras, requested: Cameras) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """How far each camera is from the requested one.

    Args:
        found: Estimated cameras [*b].
        requested: Cameras [*b] that the images were to be taken with.

    Returns:
        The rotation errors [*b] in degrees and the distances [*b] of the camera centers in metres.
    """
    turn = requested.world_from_camera[..., :3, :3].mT @ found.world_from_camera[..., :3, :3]
    return torch.rad2deg(angle_of(turn)), (found.centers - requested.centers).norm(dim=-1)


def perturbed(cameras: Cameras, turn_deg: float, shift_m: float, directions: Float[Tensor, "*b 2 3"]) -> Cameras:
    """Cameras turned by `turn_deg` about, and shifted by `shift_m` metres along, given directions of any length."""
    unit = torch.nn.functional.normalize(directions, dim=-1)
    motion = torch.cat([math.radians(turn_deg) * unit[..., 0, :], shift_m * unit[..., 1, :]], -1)
    return moved(cameras, motion, torch.ones(cameras.shape))
