"""`render`: a scene and its cameras to a clip, by numba where it can do it and by torch elsewhere."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.rays import lens_mask
from geometry.errors import InputError
from geometry.optional import has_numba
from worldgen.core.clip import Clip
from worldgen.scenes.rendering.solids import Solids
from worldgen.scenes.rendering.torch.images import render_torch
from worldgen.scenes.scene import Scene, tensors
from worldgen.scenes.shapes import Shape

TRUTHS = ("normals", "classes", "flow", "scene_flow", "visibility")


def render(
    scene: Scene,
    cameras: Cameras,
    supersample: int = 2,
    truths: Sequence[str] = (),
    prefilter: bool = True,
    chunk_rays: int | None = None,
) -> Clip:
    """Images, exact depth and instance ids of b scenes, each from its own f cameras at their own times.

    Gradients reach poses, sizes, colors and lights, but not through silhouettes and shadow edges.

    Args:
        scene: b scenes.
        cameras: Batch shape [b, f]. A camera inside a solid does not see that solid.
        supersample: s; color is the mean of s x s rays a pixel in linear light, all else that of the one ray through
            the pixel's center.
        truths: What else to render, of `TRUTHS`: "normals" [b, f, 3, h, w] unit, in the world; "classes"
            [b, f, 1, h, w] `SemanticClass`, -1 = sky; "flow" [b, f, 2, h, w] pixels to where the next frame's camera
            has the same surface point; "scene_flow" [b, f, 3, h, w] metres it moves until then; "visibility"
            [b, f, 1, h, w] whether it is seen there. The last frame has no next one: its flows are 0 and nothing is
            visible.
        prefilter: Fade what textures have finer than a pixel; False = the exact color of single points.
        chunk_rays: Rays that torch holds at once, which bounds the memory at about 1.5 kB each; by default 2^17 on a
            CPU and 2^22 elsewhere. Numba holds a few hundred.

    Returns:
        A clip with rgb [b, f, 3, h, w], depth [b, f, 1, h, w] (metres; inf = sky), instances (-1 = sky) and the truths
        asked for. Depth is z, or along the ray, as the cameras' lenses have it (`geometry.camera.lenses`). A pixel at
        which a lens shows nothing is black, with depth 0, instance and class -1, and 0 in all other truths.

    Raises:
        InputError: Batch shapes that do not match, cameras that are not finite or have no inverse, unknown truths.
    """
    _check(scene, cameras, supersample, truths)
    # A mesh's size only bounds its triangles: no gradient belongs there.
    bounds = torch.where((scene.kind == Shape.MESH)[..., None], scene.size.detach(), scene.size)
    scene = replace(scene, size=bounds)
    solids = Solids.of(scene, cameras.time_s)
    if numba_can_render(scene, cameras, truths):
        from worldgen.scenes.rendering.numba.images import render_numba

        images = render_numba(scene, cameras, solids, supersample, truths, prefilter)
    else:
        chunk_rays = chunk_rays or (1 << 17 if cameras.K.device.type == "cpu" else 1 << 22)
        images = render_torch(scene, cameras, solids, supersample, truths, prefilter, chunk_rays)
    images = {name: image.unflatten(0, cameras.shape) for name, image in images.items()}
    if cameras.lens is not None:
        shown = lens_mask(cameras)
        nothing = {"instances": -1, "classes": -1}
        images = {name: torch.where(shown, x, x.new_tensor(nothing.get(name, 0))) for name, x in images.items()}
    return Clip.of_maps(images, cameras)


def _check(scene: Scene, cameras: Cameras, supersample: int, truths: Sequence[str]) -> None:
    if len(cameras.shape) != 2 or cameras.shape[0] != len(scene):
        raise InputError(f"render: cameras of shape {tuple(cameras.shape)} for {len(scene)} scenes; expected [b, f]")
    if cameras.shape.numel() == 0:
        raise InputError(f"render: cameras of shape {tuple(cameras.shape)}; expected at least one scene and one frame")
    if supersample < 1:
        raise InputError(f"render: supersample {supersample}; expected 1 or more")
    if unknown := [name for name in truths if name not in TRUTHS]:
        raise InputError(f"render: truths {unknown}; expected some of {', '.join(TRUTHS)}")
    for name, value in (("poses", cameras.world_from_camera), ("intrinsics", cameras.K), ("times", cameras.time_s)):
        if not bool(value.isfinite().all()):
            raise InputError(f"render: camera {name} with NaN or Inf; expected finite numbers")
    if bool((cameras.K[..., 0, 0] * cameras.K[..., 1, 1] == 0).any()):
        raise InputError("render: a camera with focal length 0; expected intrinsics with an inverse")
    scene.check()


def numba_can_render(scene: Scene, cameras: Cameras, truths: Sequence[str] = ()) -> bool:
    """Whether numba can render it: on a CPU, in float32, without gradients, and with lenses other than pinholes only
    truths that need no projection."""
    if cameras.lens is not None and set(truths) & {"flow", "visibility"}:
        return False
    numbers = [value for value in (*tensors(scene), *tensors(cameras)) if value.is_floating_point()]
    plain = all(value.device.type == "cpu" and value.dtype == torch.float32 for value in numbers)
    return plain and has_numba() and not (torch.is_grad_enabled() and any(value.requires_grad for value in numbers))
