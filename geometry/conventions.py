"""Every convention of the project, on one page.

World     right-handed, z up, metres.
Camera    OpenCV axes: x right, y down, z forward. `world_from_camera` maps camera points to world points.
Names     transforms compose by eye: `world_from_camera @ camera_from_rig` is `world_from_rig`.
Pixels    pixel (0, 0) has its center at (0.5, 0.5), so the image spans [0, width] x [0, height] and a centered
          principal point is (width / 2, height / 2). Resizing by s multiplies all of fx, fy, cx, cy by s.
Depth     metres; 0 = unknown, inf = sky. Along the optical axis (z) for perspective lenses, distorted or not; along the
          ray for fisheyes, f-theta lenses and panoramas (`geometry.camera.lenses`), which show directions where z means
          nothing.
Plücker   (d, o x d) in this order, d of unit length, o the camera center.
Color     floats in 0..1, sRGB-encoded, channels first, unless a name says linear.
Time      seconds.

Any other convention exists only here, in `geometry.camera.conversion` and in `geometry.io`.
"""

import torch

from geometry.shapes import Float

_FLIP_YZ = (1.0, -1.0, -1.0, 1.0)


def opencv_from_opengl(
    world_from_camera: Float[torch.Tensor, "*b 4 4"],
) -> Float[torch.Tensor, "*b 4 4"]:
    """Camera poses from OpenGL's axes (x right, y up, looking along -z; Blender, nerfstudio, glTF) to OpenCV's.

    The change of axes is its own inverse, so the same function converts back.

    Args:
        world_from_camera: Poses [*b, 4, 4] with OpenGL's camera axes.

    Returns:
        The same poses [*b, 4, 4] with OpenCV's camera axes.
    """
    return world_from_camera * world_from_camera.new_tensor(_FLIP_YZ)


def gltf_from_world(points: Float[torch.Tensor, "*n 3"]) -> Float[torch.Tensor, "*n 3"]:
    """From our world (z up) to glTF's (y up, front +z): (x, y, z) -> (x, z, -y).

    Args:
        points: Points or directions [*n, 3].

    Returns:
        The same in glTF's world [*n, 3].
    """
    x, y, z = points.unbind(-1)
    return torch.stack([x, z, -y], -1)


def world_from_gltf(points: Float[torch.Tensor, "*n 3"]) -> Float[torch.Tensor, "*n 3"]:
    """The inverse of `gltf_from_world`: (x, y, z) -> (x, -z, y).

    Args:
        points: Points or directions [*n, 3] in glTF's world.

    Returns:
        The same in ours [*n, 3].
    """
    x, y, z = points.unbind(-1)
    return torch.stack([x, -z, y], -1)


def linear_from_srgb(color: Float[torch.Tensor, "*n"]) -> Float[torch.Tensor, "*n"]:
    """From sRGB to linear light (IEC 61966-2-1).

    Args:
        color: Encoded values in 0..1, of any shape.

    Returns:
        Linear light in 0..1.
    """
    return torch.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055).clamp_min(0) ** 2.4)


def srgb_from_linear(light: Float[torch.Tensor, "*n"]) -> Float[torch.Tensor, "*n"]:
    """From linear light to sRGB (IEC 61966-2-1).

    Args:
        light: Linear light in 0..1, of any shape.

    Returns:
        Encoded values in 0..1.
    """
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp_min(1e-12) ** (1 / 2.4) - 0.055)
