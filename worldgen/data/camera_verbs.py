"""A camera's motion over a clip in words: the part of a caption that follows from poses alone."""

import math

from geometry.camera.cameras import Cameras
from worldgen.core.normalization import scene_scale_from_cameras

_STILL_DEG, _STILL_SHARE = 2.0, 0.02  # a still camera's turn, and translation over the scene scale, at most


def camera_verb(cameras: Cameras) -> str:
    """The main motion of cameras [f] in order: "the camera orbits to the left", "... moves forward", "... pans to the
    right", "... stands still"; "several cameras look at the scene" for a rig, "several views of one scene" for photos
    without times.

    The first rule that holds: more than one physical camera; times that do not grow; no turn beyond 2 degrees and no
    translation beyond 2% of the scene scale; a turn without translation is a pan or tilt; a translation across the
    view, turning against it, is an orbit; else the axis of the largest translation (forward, backward, left, right, up,
    down), in the first camera's axes.
    """
    if len(cameras) < 2:
        return "a single image"
    if len(set(cameras.view.tolist())) > 1:
        return "several cameras look at the scene"
    if not bool((cameras.time_s.diff() > 0).all()):
        return "several views of one scene"
    first, last = cameras.world_from_camera[0].double(), cameras.world_from_camera[-1].double()
    motion = first[:3, :3].mT @ (last[:3, 3] - first[:3, 3])
    relative = first[:3, :3].mT @ last[:3, :3]
    right_deg = math.degrees(math.atan2(float(relative[0, 2]), float(relative[2, 2])))
    down_deg = math.degrees(math.asin(max(-1.0, min(1.0, float(relative[1, 2])))))
    scale = float(scene_scale_from_cameras(cameras.to(first.dtype)))
    distance = float(motion.norm()) / scale if scale > 0 else 0.0
    if distance < _STILL_SHARE:
        if max(abs(right_deg), abs(down_deg)) < _STILL_DEG:
            return "the camera stands still"
        if abs(right_deg) >= abs(down_deg):
            return f"the camera pans to the {'right' if right_deg > 0 else 'left'}"
        return f"the camera tilts {'down' if down_deg > 0 else 'up'}"
    x, y, z = motion.tolist()
    if abs(x) > max(abs(y), abs(z) / 2) and abs(right_deg) > 5 and x * right_deg < 0:
        return f"the camera orbits to the {'right' if x > 0 else 'left'}"
    if abs(z) >= max(abs(x), abs(y)):
        return f"the camera moves {'forward' if z > 0 else 'backward'}"
    if abs(x) >= abs(y):
        return f"the camera moves to the {'right' if x > 0 else 'left'}"
    return f"the camera {'sinks' if y > 0 else 'rises'}"
