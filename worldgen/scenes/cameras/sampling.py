"""How cameras are drawn for scenes: styles such as arcs and dollies, and the choice among them.

A family of scenes has camera styles of its own beside these (`worldgen.scenes.families.family.Family.cameras`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import look_at, rigid, rotation_about
from geometry.values import as_value
from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import Shape

_TRIES = 24


@dataclass(frozen=True)
class ClipSpec:
    """The frames of a clip.

    Attributes:
        frames: Number of frames.
        fps: Frames a second, from which their times follow.
        hw: Height and width in pixels.
    """

    frames: int
    fps: float
    hw: tuple[int, int]


@as_value
@dataclass(frozen=True)
class Site:
    """A scene that cameras are drawn for, and the clip wanted of it.

    Attributes:
        scene: A batch of one.
        seed: Of its series.
        index: Its number in the series.
        held_out: Whether it is of the held-out series.
        clip: The frames.
    """

    scene: Scene
    seed: int
    index: int
    held_out: bool
    clip: ClipSpec

    def clear(self, cameras: Cameras, margin_m: float = 0.12) -> bool:
        """Whether no camera [f] is inside a solid or nearer to one than the margin."""
        return bool(clear_of(self.scene, cameras, margin_m).all())


CameraStyle = Callable[[np.random.Generator, Site], Cameras]  # draws the cameras [f] of one clip


def sample_cameras(rng: np.random.Generator, site: Site, styles: Sequence[tuple[CameraStyle, float]]) -> Cameras:
    """Cameras by one of some styles, drawn until all are in the open; the last of 24 tries is taken as it is.

    Args:
        rng: Random stream of the clip.
        site: The scene, and the frames wanted.
        styles: Camera styles, each with its chance.

    Returns:
        Cameras of batch shape [f].
    """
    functions, chances = zip(*styles)
    cameras = None
    for _ in range(_TRIES):
        cameras = functions[rng.choice(len(functions), p=np.array(chances) / sum(chances))](rng, site)
        if site.clear(cameras):
            break
    assert cameras is not None
    return cameras


def clear_of(scene: Scene, cameras: Cameras, margin_m: float) -> Tensor:
    """Which cameras are outside the boxes around a scene's solids, each at its own time.

    Shapes count as their bounding boxes, planes as the half space below them; meshes do not count.

    Args:
        scene: A batch of one.
        cameras: Batch shape [f].
        margin_m: Least distance to a box, metres.

    Returns:
        [f], bool.
    """
    position, rotation = scene.motion.at(cameras.time_s[None])
    local = ((cameras.centers[:, None] - position[0])[..., None, :] @ rotation[0]).squeeze(-2)
    kind = scene.kind[0]
    boxed = ((local.abs() - scene.size[0] - margin_m) < 0).all(-1) & (kind >= 0) & (kind < Shape.PLANE)
    below = (local[..., 2] < margin_m) & (kind == Shape.PLANE)
    return ~(boxed | below).any(-1)


def aim(
    rng: np.random.Generator, site: Site, eye: np.ndarray, target: np.ndarray, fov_deg: float | None = None,
    still: bool = False,
) -> Cameras:  # fmt: skip
    """Cameras at eyes [f, 3] looking at targets [f, 3] (metres), for camera styles.

    Args:
        rng: Draws the field of view where none is given.
        site: Whose clip they are for.
        eye: [f, 3].
        target: [f, 3].
        fov_deg: Over the shorter side; None = U(40, 75) degrees.
        still: All frames at time 0, instead of one after another.

    Returns:
        Pinhole cameras of batch shape [f].
    """
    clip = site.clip
    pose = look_at(torch.from_numpy(eye).float(), torch.from_numpy(target).float())
    time_s = torch.zeros(clip.frames) if still else torch.arange(clip.frames) / clip.fps
    fov_deg = float(rng.uniform(40, 75)) if fov_deg is None else fov_deg
    return replace(Cameras.from_fov(pose, fov_deg, clip.hw), time_s=time_s)


def on_sphere(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """Unit vectors [..., 3] by azimuth and elevation (radians)."""
    flat = np.cos(elevation)
    return np.stack([np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation)], -1)


def shares(frames: int) -> np.ndarray:
    """Even steps [f] from 0 in the first frame to 1 in the last."""
    return np.linspace(0, 1, frames) if frames > 1 else np.zeros(1)


def middle_of(site: Site) -> tuple[np.ndarray, float, float]:
    """The point [3] that cameras turn about, and their least and greatest distance from it, by the positions of a
    scene's things (metres)."""
    scene = site.scene
    things = (scene.instance[0] > 0) & (scene.kind[0] >= 0) & (scene.kind[0] != Shape.MESH)
    center = scene.motion.position[0, :, 0][things]
    if len(center) == 0:
        return np.zeros(3), 1.5, 3.0
    middle = center.mean(0).numpy().astype(float)
    reach = float(np.percentile((center - center.mean(0)).norm(dim=-1).numpy(), 80)) + 0.5
    return middle, 1.5 * reach, 2.8 * reach


def arc(rng: np.random.Generator, site: Site) -> Cameras:
    """A segment of an orbit of U(15, 120) degrees, rising or falling a little, about the middle of things.

    Args:
        rng: Random stream of the clip.
        site: The scene, and the frames wanted.

    Returns:
        Cameras of batch shape [f].
    """
    middle, near, far = middle_of(site)
    share = shares(site.clip.frames)
    sweep = math.radians(rng.uniform(15, 120)) * rng.choice([-1, 1])
    azimuth = rng.uniform(0, 2 * math.pi) + sweep * share
    elevation = math.radians(rng.uniform(5, 45)) + math.radians(rng.uniform(-12, 12)) * share
    radius = rng.uniform(near, far) * (1 + rng.uniform(-0.2, 0.2) * share)
    return aim(rng, site, middle + radius[:, None] * on_sphere(azimuth, elevation), middle + 0 * share[:, None])


def inward(rng: np.random.Generator, site: Site) -> Cameras:
    """Unordered views of one moment from all around, looking roughly at the middle of things.

    Args:
        rng: Random stream of the clip.
        site: The scene, and the frames wanted.

    Returns:
        Cameras of batch shape [f].
    """
    middle, near, far = middle_of(site)
    count = site.clip.frames
    away = on_sphere(rng.uniform(0, 2 * math.pi, count), np.radians(rng.uniform(0, 60, count)))
    eye = middle + rng.uniform(near, far, count)[:, None] * away
    return aim(rng, site, eye, middle + rng.normal(0, 0.15 * near, (count, 3)), still=True)


def dolly(rng: np.random.Generator, site: Site) -> Cameras:
    """A straight ride towards, past or away from things; the point looked at moves along for a part of the way.

    Args:
        rng: Random stream of the clip.
        site: The scene, and the frames wanted.

    Returns:
        Cameras of batch shape [f].
    """
    middle, near, far = middle_of(site)
    share = shares(site.clip.frames)[:, None]
    azimuth, elevation = rng.uniform(0, 2 * math.pi), math.radians(rng.uniform(3, 40))
    eye = middle + rng.uniform(near, far) * on_sphere(np.array(azimuth), np.array(elevation))
    ride = rng.normal(0, 0.25, 3) * near * np.array([1, 1, 0.4])
    return aim(rng, site, eye + share * ride, middle + share * ride * rng.uniform(0, 1))


def tripod(rng: np.random.Generator, site: Site) -> Cameras:
    """A camera that does not move.

    Args:
        rng: Random stream of the clip.
        site: The scene, and the frames wanted.

    Returns:
        Cameras of batch shape [f].
    """
    middle, near, far = middle_of(site)
    away = on_sphere(np.array(rng.uniform(0, 2 * math.pi)), np.array(math.radians(rng.uniform(5, 40))))
    eye = middle + rng.uniform(near, far) * away + np.zeros((site.clip.frames, 1))
    return aim(rng, site, eye, middle + 0 * eye)


def fan(pose: Cameras, count: int, spread_deg: float) -> Cameras:
    """A rig of cameras in a fan, carried along poses: each run of `count` frames has its views of one moment.

    Args:
        pose: Cameras of batch shape [f].
        count: Cameras of the rig.
        spread_deg: Angle about z by which the outer ones are turned to both sides, degrees.

    Returns:
        Cameras of batch shape [f], with the number of each in the rig as its `view`.
    """
    frames = len(pose)
    view = torch.arange(frames) % count
    moment = torch.arange(frames) - view
    angle = torch.deg2rad(torch.linspace(-spread_deg, spread_deg, count))[view]
    up = torch.tensor([0.0, 0.0, 1.0]).expand(frames, 3)
    base = pose.world_from_camera[moment]
    turned = rotation_about(up, angle) @ base[:, :3, :3]
    return replace(pose, world_from_camera=rigid(turned, base[:, :3, 3]), view=view, time_s=pose.time_s[moment])
