"""Scenes as files: exact geometry with its motion as GLB, and clips as videos of color beside depth."""

from pathlib import Path

import torch
from torch import Tensor

from geometry.conventions import srgb_from_linear
from geometry.io.assets.gltf import MovingMesh, write_moving_glb
from geometry.io.video import write_mp4
from geometry.mesh.meshes import Mesh
from worldgen.core.clip import Clip
from worldgen.runtime.contact_sheet import depth_image
from worldgen.scenes.classes import SemanticClass
from worldgen.scenes.rendering.torch.textures import evaluate
from worldgen.scenes.scene import Scene
from worldgen.scenes.tessellation import tessellate


def write_scene_glb(path: Path, scene: Scene, index: int = 0, fine: int = 48) -> None:
    """Write one scene of a batch as GLB: every primitive is a node with its own track, colored by its texture.

    Args:
        path: The file.
        scene: A batch of scenes.
        index: Which of them.
        fine: Segments around a round shape.

    Raises:
        InputError: A scene without primitives.
    """
    meshes = []
    columns = scene.material.textures.table()[index].T.contiguous()
    for n in (scene.kind[index] >= 0).nonzero().squeeze(-1).tolist():
        vertices, faces = tessellate(scene, index, n, fine)
        colors = _colors(columns, n, vertices, faces)
        mesh = Mesh(vertices.float(), faces, colors)
        name = f"{SemanticClass(int(scene.semantic[index, n])).name.lower()} {int(scene.instance[index, n])}.{n}"
        time_s, position = scene.motion.time_s[index], scene.motion.position[index, n]
        rotation = scene.motion.rotation[index, n]
        if bool((position == position[:1]).all() & (rotation == rotation[:1]).all()):
            time_s, position, rotation = time_s[:1], position[:1], rotation[:1]
        meshes.append(MovingMesh(name, mesh, time_s, position, rotation))
    caption = scene.captions[index] if scene.captions else ""
    write_moving_glb(path, meshes, {"caption": caption, "units": "metres"})


def _colors(columns: Tensor, n: int, vertices: Tensor, faces: Tensor) -> Tensor:
    """The texture at each vertex (sRGB), blurred to the distance between vertices."""
    a, b, c = vertices[faces].unbind(1)
    normal = torch.zeros_like(vertices).index_add(0, faces.flatten(), _thrice(torch.linalg.cross(b - a, c - a)))
    edge = ((a - b).norm(dim=-1) + (b - c).norm(dim=-1)) / 2
    spacing = torch.zeros_like(vertices[:, 0]).scatter_reduce(0, faces.flatten(), _thrice(edge), "amax")
    row = torch.full((len(vertices),), n)
    light = evaluate(columns, row, vertices.T.float(), normal.T.float(), (spacing / 2).float())
    return srgb_from_linear(light.T.clamp(0, 1))


def _thrice(values: Tensor) -> Tensor:
    return values.repeat_interleave(3, 0)


def write_clip_mp4(path: Path, clip: Clip, fps: float = 12.0, scale: int = 1) -> None:
    """Write a clip as one video: color on the left, depth on the right (bright = near).

    Args:
        path: The file, MP4.
        clip: Batch shape [f].
        fps: Frames a second.
        scale: Enlargement of each pixel.
    """
    known = clip.depth[(clip.depth > 0) & clip.depth.isfinite()]
    near, far = (float(known.min()), float(known.max())) if len(known) else (1.0, 2.0)
    far = max(min(far, 50 * near), near * 1.01)
    depth = torch.stack([depth_image(frame, near, far) for frame in clip.depth])
    write_mp4(path, torch.cat([clip.rgb, depth], -1), fps, scale)
