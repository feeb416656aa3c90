"""Camera distributions for every family of scenes: arcs, dollies, walks, drives, rigs and free views."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.rotation.transforms import look_at, rigid, rotation_about
from worldgen.runtime.rng import Stream, stream
from worldgen.scenes.families.room import room_size
from worldgen.scenes.families.street import ego_speed
from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import Shape


@dataclass(frozen=True)
class Shot:
    """How a clip is recorded, drawn at random.

    frames  number of frames
    fps     frames a second: the clip's times
    hw      height and width in pixels
    """

    frames: int
    fps: float
    hw: tuple[int, int]


def views(family: str, scene: Scene, seed: int, indices: list[int], held_out: bool, shot: Shot) -> Cameras:
    """Cameras [b, f] for scenes of a family, by the distributions that suit it, away from everything solid.

    A function of (family, seed, number, held out) as the scene is, whatever the batch. Mixtures:
    tabletop      arcs 60%, inward views 40%
    physics       arcs 50%, still 30%, dollies 20%
    room          walks 40%, arcs 25%, free views from inside 20%, rigs 15%
    street        drives 55%, rigs on a drive 25%, strolls 20%
    texture_soup  arcs 40%, inward views 35%, dollies 25%

    Raises InputError for a family that does not exist.
    """
    if family not in _MIXTURES:
        raise InputError(f"scene family {family!r}; expected one of {', '.join(_MIXTURES)}")
    clips = []
    for row, index in enumerate(indices):
        domain = Stream.HELD_OUT_SCENES if held_out else Stream.TRAINING_SCENES
        rng = stream(domain, seed, index, list(_MIXTURES).index(family), 1)
        place = _Place(scene[row : row + 1], seed, index, held_out, shot)
        clips.append(_one_clip(rng, family, place))
    return Cameras(
        torch.stack([clip.world_from_camera for clip in clips]), torch.stack([clip.K for clip in clips]), shot.hw,
        torch.stack([clip.view for clip in clips]), torch.stack([clip.time_s for clip in clips]),
    )  # fmt: skip


@dataclass(frozen=True)
class _Place:
    """A scene to video and how."""

    scene: Scene
    seed: int
    index: int
    held_out: bool
    shot: Shot

    def clear(self, cameras: Cameras, margin_m: float = 0.12) -> bool:
        """Whether no camera is inside a solid or nearer to one than the margin."""
        return bool(clear_of(self.scene, cameras, margin_m).all())


def _one_clip(rng: np.random.Generator, family: str, place: _Place) -> Cameras:
    """Draw until every camera is in the open; the last of 24 draws is taken as it is."""
    styles, chances = zip(*_MIXTURES[family])
    cameras = None
    for _ in range(24):
        cameras = styles[rng.choice(len(styles), p=np.array(chances) / sum(chances))](rng, place)
        if place.clear(cameras):
            break
    assert cameras is not None
    return cameras


def clear_of(scene: Scene, cameras: Cameras, margin_m: float) -> Tensor:
    """Which of the cameras [f] of one scene are at least so far from its boxes' insides, each at its own time: [f].

    Shapes count as their bounding boxes, planes as the half space below them; meshes not at all.
    """
    position, rotation = scene.motion.at(cameras.time_s[None])
    local = ((cameras.centers[:, None] - position[0])[..., None, :] @ rotation[0]).squeeze(-2)
    kind = scene.kind[0]
    boxed = ((local.abs() - scene.size[0] - margin_m) < 0).all(-1) & (kind >= 0) & (kind < Shape.PLANE)
    below = (local[..., 2] < margin_m) & (kind == Shape.PLANE)
    return ~(boxed | below).any(-1)


def _recorded(rng: np.random.Generator, place: _Place, eye: np.ndarray, target: np.ndarray, fov: float | None = None,
            still: bool = False) -> Cameras:  # fmt: skip
    """Cameras at eyes [f, 3] looking at targets [f, 3]; the field of view U(40, 75) degrees unless given."""
    shot = place.shot
    pose = look_at(torch.from_numpy(eye).float(), torch.from_numpy(target).float())
    time_s = torch.zeros(shot.frames) if still else torch.arange(shot.frames) / shot.fps
    fov = float(rng.uniform(40, 75)) if fov is None else fov
    return replace(Cameras.from_fov(pose, fov, shot.hw), time_s=time_s)


def _sphere(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    flat = np.cos(elevation)
    return np.stack([np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation)], -1)


def _smooth(frames: int) -> np.ndarray:
    return np.linspace(0, 1, frames) if frames > 1 else np.zeros(1)


def _middle(place: _Place) -> tuple[np.ndarray, float, float]:
    """What an arc turns about, and between which distances, by the extent of the scene's things."""
    scene = place.scene
    things = (scene.instance[0] > 0) & (scene.kind[0] >= 0) & (scene.kind[0] != Shape.MESH)
    center = scene.motion.position[0, :, 0][things]
    if len(center) == 0:
        return np.zeros(3), 1.5, 3.0
    middle = center.mean(0).numpy().astype(float)
    reach = float(np.percentile((center - center.mean(0)).norm(dim=-1).numpy(), 80)) + 0.5
    return middle, 1.5 * reach, 2.8 * reach


def arc(rng: np.random.Generator, place: _Place) -> Cameras:
    """A segment of an orbit of U(15, 120) degrees, rising or falling a little, about the middle of things."""
    middle, near, far = _middle(place)
    share = _smooth(place.shot.frames)
    sweep = math.radians(rng.uniform(15, 120)) * rng.choice([-1, 1])
    azimuth = rng.uniform(0, 2 * math.pi) + sweep * share
    elevation = math.radians(rng.uniform(5, 45)) + math.radians(rng.uniform(-12, 12)) * share
    radius = rng.uniform(near, far) * (1 + rng.uniform(-0.2, 0.2) * share)
    return _recorded(rng, place, middle + radius[:, None] * _sphere(azimuth, elevation), middle + 0 * share[:, None])


def inward(rng: np.random.Generator, place: _Place) -> Cameras:
    """Unordered views of one moment from anywhere around, looking at the middle of things give or take."""
    middle, near, far = _middle(place)
    count = place.shot.frames
    away = _sphere(rng.uniform(0, 2 * math.pi, count), np.radians(rng.uniform(0, 60, count)))
    eye = middle + rng.uniform(near, far, count)[:, None] * away
    return _recorded(rng, place, eye, middle + rng.normal(0, 0.15 * near, (count, 3)), still=True)


def dolly(rng: np.random.Generator, place: _Place) -> Cameras:
    """A straight ride towards, past or away from things, with the gaze kept."""
    middle, near, far = _middle(place)
    share = _smooth(place.shot.frames)[:, None]
    azimuth, elevation = rng.uniform(0, 2 * math.pi), math.radians(rng.uniform(3, 40))
    eye = middle + rng.uniform(near, far) * _sphere(np.array(azimuth), np.array(elevation))
    ride = rng.normal(0, 0.25, 3) * near * np.array([1, 1, 0.4])
    return _recorded(rng, place, eye + share * ride, middle + share * ride * rng.uniform(0, 1))


def still(rng: np.random.Generator, place: _Place) -> Cameras:
    """A camera on a tripod."""
    middle, near, far = _middle(place)
    away = _sphere(np.array(rng.uniform(0, 2 * math.pi)), np.array(math.radians(rng.uniform(5, 40))))
    eye = middle + rng.uniform(near, far) * away + np.zeros((place.shot.frames, 1))
    return _recorded(rng, place, eye, middle + 0 * eye)


def _inside(rng: np.random.Generator, place: _Place, count: int) -> np.ndarray:
    """Places [count, 3] in a room at the height of a standing or sitting person's eyes."""
    half = room_size(place.seed, place.index, place.held_out)
    flat = rng.uniform(-1, 1, (count, 2)) * (half[:2] - 0.4)
    return np.concatenate([flat, np.full((count, 1), rng.uniform(0.9, 1.7))], 1)


def walk(rng: np.random.Generator, place: _Place) -> Cameras:
    """Through a room from one place to another, looking about, with the sway of a hand."""
    start, end, gaze, gaze_end = _inside(rng, place, 4)
    share, count = _smooth(place.shot.frames)[:, None], place.shot.frames
    step = end - start
    eye = start + share * step * min(1.0, 0.35 * count / place.shot.fps / max(np.linalg.norm(step), 1e-6) + 0.3)
    eye = eye + rng.normal(0, 0.008, (count, 3))
    target = gaze + share * (gaze_end - gaze) * 0.5 - np.array([0, 0, 0.5])
    return _recorded(rng, place, eye, target + rng.normal(0, 0.01, (count, 3)), float(rng.uniform(55, 85)))


def room_arc(rng: np.random.Generator, place: _Place) -> Cameras:
    """A segment of a circle within a room, looking at its middle."""
    half = room_size(place.seed, place.index, place.held_out)
    share = _smooth(place.shot.frames)
    azimuth = rng.uniform(0, 2 * math.pi) + math.radians(rng.uniform(20, 90)) * share
    reach = rng.uniform(0.55, 0.9) * (half[:2].min() - 0.3)
    eye = np.stack([reach * np.cos(azimuth), reach * np.sin(azimuth), rng.uniform(1.0, 1.9) + 0 * share], -1)
    return _recorded(rng, place, eye, np.array([0, 0, rng.uniform(0.4, 1.1)]) + 0 * eye, float(rng.uniform(55, 85)))


def anywhere(rng: np.random.Generator, place: _Place) -> Cameras:
    """Unordered views of one moment from places in a room in any direction near the level."""
    eye = _inside(rng, place, place.shot.frames)
    eye[1:] = eye[0] + 0.5 * (eye[1:] - eye[0])
    azimuth = rng.uniform(0, 2 * math.pi) + rng.normal(0, 0.8, len(eye))
    target = eye + _sphere(azimuth, np.radians(rng.normal(-10, 10, len(eye))))
    return _recorded(rng, place, eye, target, float(rng.uniform(60, 90)), still=True)


def _around(pose: Cameras, count: int, spread_deg: float) -> Cameras:
    """A fan of `count` cameras in place of each pose in turn: every so many frames are views of one moment."""
    frames = len(pose)
    view = torch.arange(frames) % count
    moment = torch.arange(frames) - view
    angle = torch.deg2rad(torch.linspace(-spread_deg, spread_deg, count))[view]
    up = torch.tensor([0.0, 0.0, 1.0]).expand(frames, 3)
    base = pose.world_from_camera[moment]
    turned = rotation_about(up, angle) @ base[:, :3, :3]
    return replace(pose, world_from_camera=rigid(turned, base[:, :3, 3]), view=view, time_s=pose.time_s[moment])


def room_rig(rng: np.random.Generator, place: _Place) -> Cameras:
    """Two to four cameras in a fan, carried through a room."""
    return _around(walk(rng, place), int(rng.integers(2, 5)), rng.uniform(40, 100))


def drive(rng: np.random.Generator, place: _Place) -> Cameras:
    """From a car in the ego lane of a street, at its safe speed, 1.2 to 1.8 m high, looking ahead or a little aside."""
    speed = ego_speed(place.seed, place.index, place.held_out)
    x = rng.uniform(-2, 2) + speed * np.arange(place.shot.frames) / place.shot.fps
    eye = np.stack([x, 0.05 * np.sin(0.3 * x), rng.uniform(1.2, 1.8) + 0 * x], -1)
    aside = math.radians(rng.normal(0, 6))
    gaze = np.array([10 * math.cos(aside), 10 * math.sin(aside), rng.uniform(-1.2, 0.2)])
    return _recorded(rng, place, eye, eye + gaze, float(rng.uniform(45, 75)))


def drive_rig(rng: np.random.Generator, place: _Place) -> Cameras:
    """Three or six cameras around a driving car."""
    count = int(rng.choice([3, 6]))
    return _around(drive(rng, place), count, 60.0 if count == 3 else 150.0)


def stroll(rng: np.random.Generator, place: _Place) -> Cameras:
    """Along a street at walking pace, looking ahead or across it."""
    pace, heading = rng.uniform(0.8, 2.0), rng.choice([0.0, math.pi])
    x = rng.uniform(2, 30) + pace * math.cos(heading) * np.arange(place.shot.frames) / place.shot.fps
    eye = np.stack([x, rng.uniform(-0.8, 0.8) + 0 * x, 1.6 + 0.02 * np.sin(6 * x)], -1)
    aside = heading + math.radians(rng.uniform(-70, 70))
    gaze = np.array([8 * math.cos(aside), 8 * math.sin(aside), rng.uniform(-0.5, 1.0)])
    return _recorded(rng, place, eye, eye + gaze, float(rng.uniform(45, 80)))


Style = Callable[[np.random.Generator, _Place], Cameras]
# The order numbers the families' random streams: new ones go last.
_MIXTURES: dict[str, list[tuple[Style, float]]] = {
    "tabletop": [(arc, 0.6), (inward, 0.4)],
    "room": [(walk, 0.4), (room_arc, 0.25), (anywhere, 0.2), (room_rig, 0.15)],
    "street": [(drive, 0.55), (drive_rig, 0.25), (stroll, 0.2)],
    "physics": [(arc, 0.5), (still, 0.3), (dolly, 0.2)],
    "texture_soup": [(arc, 0.4), (inward, 0.35), (dolly, 0.25)],
}
