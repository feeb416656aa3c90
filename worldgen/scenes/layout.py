"""Layout maps: a scenario's contents as an image of class colors, 3D boxes in depth order and lane lines.

Boxes are ray cast like the scenes themselves, so depth order and boxes that reach behind the camera are exact.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.shapes import Float, Int
from geometry.values import as_value
from worldgen.scenes.classes import SemanticClass, class_colors
from worldgen.scenes.rendering.bundles import bundled_images, image_bundles
from worldgen.scenes.rendering.solids import Solids
from worldgen.scenes.rendering.tracing import trace
from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import Shape

_EDGE_M, _LINE_M = 0.04, 0.08  # half widths of a box's edges and of a lane line, where that is more than a pixel
_BACKGROUND = (SemanticClass.GROUND, SemanticClass.WALL, SemanticClass.FLOOR, SemanticClass.ROAD,
               SemanticClass.SIDEWALK, SemanticClass.LANE_LINE)  # fmt: skip


@as_value
@dataclass(frozen=True)
class Boxes:
    """Up to n oriented 3D boxes in each of f frames of b clips: x to a thing's front, y to its left, z up.

    Attributes:
        center: [b, f, n, 3] metres.
        rotation: [b, f, n, 3, 3] world from box.
        size: [b, f, n, 3] half length, half width, half height, metres.
        semantic: [b, n] `SemanticClass`; -1 = no box.
    """

    center: Float[Tensor, "b f n 3"]
    rotation: Float[Tensor, "b f n 3 3"]
    size: Float[Tensor, "b f n 3"]
    semantic: Int[Tensor, "b n"]


def boxes_of(scene: Scene, time_s: Float[Tensor, "b f"]) -> Boxes:
    """The box around each thing (instance 1 and up) of a scene, in the frame of its first part.

    Args:
        scene: b scenes.
        time_s: [b, f] times.

    Returns:
        A box for each instance number, at each time.
    """
    position, rotation = scene.motion.at(time_s)  # [b, f, n, ...]
    batch, frames, slots = position.shape[:3]
    things = int(scene.instance.max()) + 1
    part = (scene.kind >= 0) & (scene.kind != Shape.PLANE) & (scene.instance > 0)
    instance = torch.where(part, scene.instance, 0)
    # The first slot of each instance gives it its frame and its class.
    slot = torch.arange(slots, device=position.device).expand(batch, -1)
    lead = torch.full((batch, things), slots, device=position.device)
    lead = lead.scatter_reduce(1, instance, torch.where(part, slot, slots), "amin")
    present = lead < slots
    lead = lead.clamp_max(slots - 1)
    turn = rotation.gather(2, lead[:, None, :, None, None].expand(-1, frames, -1, 3, 3))
    origin = position.gather(2, lead[:, None, :, None].expand(-1, frames, -1, 3))

    sign = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).to(position)
    corners = (
        position[..., None, :] + (rotation[..., None, :, :] @ (sign * scene.size[:, None, :, None])[..., None])[..., 0]
    )
    own = instance[:, None, :, None].expand(-1, frames, -1, 3)
    local = corners - origin.gather(2, own)[..., None, :]
    local = local @ turn.gather(2, own[..., None].expand(-1, -1, -1, -1, 3))
    blank = position.new_zeros(batch, frames, things, 3)
    low = (blank + torch.inf).scatter_reduce(2, own, local.amin(-2), "amin")
    high = (blank - torch.inf).scatter_reduce(2, own, local.amax(-2), "amax")
    middle = torch.where(present[:, None, :, None], (low + high) / 2, 0.0)
    half = torch.where(present[:, None, :, None], (high - low) / 2, 1.0).clamp_min(1e-4)
    present[:, 0] = False  # the background
    return Boxes(
        center=origin + (turn @ middle[..., None]).squeeze(-1),
        rotation=turn,
        size=half,
        semantic=torch.where(present, scene.semantic.gather(1, lead), -1),
    )


def scene_layout(
    scene: Scene, cameras: Cameras, classes: Int[Tensor, "b f 1 h w"] | None = None
) -> Float[Tensor, "b f 3 h w"]:
    """The layout map of a scene, each camera at its own time.

    Args:
        scene: b scenes.
        cameras: Batch shape [b, f].
        classes: [b, f, 1, h, w] of a rendered clip, for an exact background; None = sky over an endless ground.

    Returns:
        [b, f, 3, h, w] sRGB in 0..1.
    """
    return draw_layout(cameras, boxes_of(scene, cameras.time_s), scene.lines, classes)


def draw_layout(
    cameras: Cameras,
    boxes: Boxes,
    lines: Float[Tensor, "b q 2 3"] | None = None,
    classes: Int[Tensor, "b f 1 h w"] | None = None,
) -> Float[Tensor, "b f 3 h w"]:
    """Boxes and lane lines as seen by cameras.

    Boxes have their class's color, darker on the left and right, with a light front and dark edges at least a pixel
    wide; lines lie on the ground z = 0, white, hidden by boxes; the background has flat class colors.

    Args:
        cameras: Batch shape [b, f].
        boxes: In each of the b f frames.
        lines: [b, q, 2, 3] segments, metres; NaN = none.
        classes: [b, f, 1, h, w], of which the background is drawn; None = sky over an endless ground.

    Returns:
        [b, f, 3, h, w] sRGB in 0..1.

    Raises:
        InputError: Batch shapes that do not match.
    """
    if len(cameras.shape) != 2 or boxes.center.shape[:2] != cameras.shape:
        raise InputError(
            f"layout: boxes {tuple(boxes.center.shape[:3])} for cameras {tuple(cameras.shape)}; expected [b, f, n] "
            "and [b, f]"
        )
    frames = cameras.shape[1]
    flat = cameras.reshape(cameras.shape.numel())
    origin, direction = image_bundles(flat, 1)
    solids = _solids(boxes)
    hits = trace(solids, origin, direction)
    pixel = (1 / flat.K[:, 0, 0])[:, None, None]

    down = direction[:, :, 2]
    ground_t = -origin[:, :, 2] / torch.where(down.abs() < 1e-9, torch.full_like(down, 1e-9), down)
    on_ground = (ground_t > 0) & torch.isfinite(ground_t)
    if classes is None:
        sky_or_ground = torch.where(on_ground, int(SemanticClass.GROUND), int(SemanticClass.SKY))
        under = class_colors(bundled_images(sky_or_ground[:, :, None], cameras.hw, 1))
    else:
        known = torch.tensor([int(kind) for kind in _BACKGROUND], device=classes.device)
        backdrop = torch.where(torch.isin(classes, known) | (classes < 0), classes, int(SemanticClass.GROUND))
        under = class_colors(backdrop.flatten(0, 1))
    if lines is not None and lines.shape[1]:
        point = origin + torch.where(on_ground, ground_t, 0.0)[:, :, None] * direction
        painted = _on_lines(point[:, :, :2], lines.repeat_interleave(frames, 0), pixel * ground_t) & on_ground
        painted = bundled_images(painted[:, :, None], cameras.hw, 1)
        white = torch.full_like(painted, int(SemanticClass.LANE_LINE), dtype=torch.long)
        under = torch.where(painted, class_colors(white), under)
    color = _box_colors(solids, boxes, hits.slot, hits.t, origin, direction, pixel)
    seen = bundled_images((hits.slot >= 0)[:, :, None], cameras.hw, 1)
    return torch.where(seen, bundled_images(color, cameras.hw, 1), under).unflatten(0, cameras.shape)


def _solids(boxes: Boxes) -> Solids:
    """The boxes as primitives of single images."""
    frames = boxes.center.shape[1]
    center, rotation, size = (part.flatten(0, 1) for part in (boxes.center, boxes.rotation, boxes.size))
    semantic = boxes.semantic.repeat_interleave(frames, 0)
    linear = rotation.transpose(-1, -2) / size[..., None]
    affine = torch.cat([linear, -(linear @ center[..., None])], -1)
    present = semantic >= 0
    images, slots = semantic.shape
    return Solids(
        kind=torch.where(present, int(Shape.BOX), int(Shape.NONE)),
        unit_from_world=affine,
        form=center.new_full((images, slots, 2), 0.5),
        center=center,
        reach=torch.where(present, size.norm(dim=-1), -torch.inf),
        corners=center.new_zeros(images, 0, 3, 3),
        owner=semantic.new_zeros(images, 0),
    )


def _on_lines(point: Tensor, lines: Tensor, footprint: Tensor) -> Tensor:
    """Which ground points [p, t, 2, k] are on a line or within half a pixel of it: [p, t, k]."""
    painted = torch.zeros_like(point[:, :, 0], dtype=torch.bool)
    for segment in lines[..., :2].unbind(1):
        start, end = segment.unbind(1)
        along = (end - start)[:, None, :, None]
        offset = point - start[:, None, :, None]
        share = ((offset * along).sum(2, keepdim=True) / along.square().sum(2, keepdim=True)).clamp(0, 1)
        away = (offset - share * along).norm(dim=2)
        painted |= away < torch.maximum(0.5 * footprint, torch.full_like(footprint, _LINE_M))  # never for NaN
    return painted


def _box_colors(
    solids: Solids, boxes: Boxes, slot: Tensor, t: Tensor, origin: Tensor, direction: Tensor, pixel: Tensor
) -> Tensor:
    """Colors [p, t, 3, k] of what the rays hit; undefined where they hit nothing."""
    images, frames = len(slot), boxes.center.shape[1]
    image = torch.arange(images, device=slot.device)[:, None, None].expand_as(slot)
    which = slot.clamp_min(0)
    affine, half = solids.unit_from_world[image, which], boxes.size.flatten(0, 1)[image, which]
    point = (origin + torch.where(slot >= 0, t, 1.0)[:, :, None] * direction).movedim(2, -1)
    unit = (affine[..., :3] @ point[..., None]).squeeze(-1) + affine[..., 3]
    width = torch.maximum(pixel * t.nan_to_num(posinf=1.0), torch.full_like(t, _EDGE_M))[..., None]
    near_side = (1 - unit.abs()) * half < torch.minimum(width, 0.35 * half)
    edge = near_side.sum(-1) >= 2  # one of them is the visible face
    face = unit.abs().argmax(-1)
    front, back = (face == 0) & (unit[..., 0] > 0), (face == 0) & (unit[..., 0] <= 0)
    shade = torch.where(face == 2, 1.0, torch.where(face == 1, 0.75, torch.where(back, 0.6, 1.0)))
    semantic = boxes.semantic.repeat_interleave(frames, 0)[image, which]
    base = class_colors(semantic.clamp_min(0)[:, None]).movedim(1, -1) * shade[..., None]
    base = torch.where(front[..., None], 0.5 + 0.5 * base, base)
    return torch.where(edge[..., None], 0.15 * base, base).movedim(-1, 2)
