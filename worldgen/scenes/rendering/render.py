"""The reference renderer: exact ray casting of closed-form scenes, in batches, by torch on any device.

`worldgen/scenes/rendering/numba/shading.py` is the same in numba for a CPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.camera.projection import pixels_of
from geometry.camera.rays import camera_directions, lens_mask, pixel_centers
from geometry.conventions import srgb_from_linear
from geometry.errors import InputError
from geometry.optional import has_numba
from worldgen.core.clip import Clip
from worldgen.scenes.rendering.shading import GRAZING, UNSEEN, Surfaces, flat, length, shade, surfaces
from worldgen.scenes.rendering.shapes import Shape
from worldgen.scenes.rendering.tracing import Hits, Solids, trace
from worldgen.scenes.scene import Scene, tensors

TRUTHS = ("normals", "classes", "flow", "scene_flow", "visibility")
_BUNDLE = 16  # rays of a bundle are a square of so many on a side


def render(
    scene: Scene,
    cameras: Cameras,
    supersample: int = 2,
    truths: Sequence[str] = (),
    prefilter: bool = True,
    chunk_rays: int | None = None,
) -> Clip:
    """Images, exact depth and instance ids of every scene b from its own f cameras, each at its own time.

    scene        b scenes
    cameras      batch shape [b, f]; a camera inside a solid does not see that solid
    supersample  s: color is the mean of s x s rays a pixel in linear light; all else is that of the one ray through
                 the pixel's center
    truths       what else to make: "normals" [b, f, 3, h, w] unit, in the world; "classes" [b, f, 1, h, w] (-1 = sky);
                 "flow" [b, f, 2, h, w] pixels to where the next frame's camera has the same surface point; "scene_flow"
                 [b, f, 3, h, w] metres it moves until then; "visibility" [b, f, 1, h, w] whether it is seen there. The
                 last frame has no next one: its flows are 0 and nothing is visible.
    prefilter    fade what textures have finer than a pixel (False: the exact color of single points)
    chunk_rays   rays held at once by torch, which bounds the memory at about 1.5 kB each; by default 2^17 on a CPU, and
                 2^22 elsewhere. Numba (`fast_enough`) holds a few hundred

    Returns a Clip with rgb [b, f, 3, h, w], depth (inf = sky) and instances (-1 = sky), and the truths asked for. Depth
    is z, or along the ray, as the cameras' lenses have it (`geometry.camera.lenses`). A pixel at which a lens shows
    nothing is black, of depth 0, instance and class -1, and all its other truths are 0.
    Gradients reach poses, sizes, colors and lights, but not through silhouettes and shadow edges.
    Raises InputError when the batch shapes do not match, for cameras that are not finite or have no inverse, and for
    truths it does not know.
    """
    _check(scene, cameras, supersample, truths)
    height, width = cameras.hw
    limit = chunk_rays or (1 << 17 if cameras.K.device.type == "cpu" else 1 << 22)
    step = max(1, limit // (height * width * (supersample**2 + 1)))
    # A mesh's size only bounds its triangles: no gradient belongs there.
    bounds = torch.where((scene.kind == Shape.MESH)[..., None], scene.size.detach(), scene.size)
    scene = replace(scene, size=bounds)
    video = _Video(scene, cameras, Solids.of(scene, cameras.time_s))
    if fast_enough(scene, cameras, truths):
        from worldgen.scenes.rendering.numba.shading import render_cpu

        images = render_cpu(scene, cameras, video.solids, supersample, truths, prefilter)
    else:
        parts = [video.expose(slice(i, i + step), supersample, truths, prefilter) for i in range(0, len(video), step)]
        images = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    images = {name: image.unflatten(0, cameras.shape) for name, image in images.items()}
    if cameras.lens is not None:
        shown = lens_mask(cameras)
        nothing = {"instances": -1, "classes": -1}
        images = {name: torch.where(shown, x, x.new_tensor(nothing.get(name, 0))) for name, x in images.items()}
    return Clip(images.pop("rgb"), images.pop("depth"), cameras, **images)


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
            raise InputError(f"render: camera {name} that are not finite; expected finite numbers")
    if bool((cameras.K[..., 0, 0] * cameras.K[..., 1, 1] == 0).any()):
        raise InputError("render: a camera with focal length 0; expected intrinsics with an inverse")
    scene.check()


def fast_enough(scene: Scene, cameras: Cameras, truths: Sequence[str] = ()) -> bool:
    """Whether numba may do it (`worldgen/scenes/rendering/numba/shading.py`): on a CPU, in float32, without gradients,
    and with a lens nothing that takes projection, of which it knows the pinhole's alone."""
    if cameras.lens is not None and set(truths) & {"flow", "visibility"}:
        return False
    numbers = [value for value in (*tensors(scene), *tensors(cameras)) if value.is_floating_point()]
    plain = all(value.device.type == "cpu" and value.dtype == torch.float32 for value in numbers)
    return plain and has_numba() and not (torch.is_grad_enabled() and any(value.requires_grad for value in numbers))


@dataclass(frozen=True)
class _Video:
    """All images of a call, [b, f] as one axis p, and the primitives at the moment of each."""

    scene: Scene
    cameras: Cameras
    solids: Solids

    def __len__(self) -> int:
        return self.cameras.shape.numel()

    def expose(self, chosen: slice, supersample: int, truths: Sequence[str], prefilter: bool) -> dict[str, Tensor]:
        """Some of the images: every image by name, [p, c, h, w]."""
        cameras, which, solids = self._take(torch.arange(len(self), device=self.cameras.K.device)[chosen])
        origin, direction = image_bundles(cameras, supersample)
        hits = trace(solids, origin, direction)
        pixel = 1 / (supersample * cameras.K[:, 0, 0]) if prefilter else None
        seen = surfaces(self.scene, solids, which, hits, origin, direction)
        light = shade(self.scene, solids, which, hits, seen, direction, pixel)
        light = bundled_images(light.reshape(3, *hits.t.shape).movedim(0, 2), cameras.hw, supersample)

        center = (origin, direction) if supersample == 1 else image_bundles(cameras, 1)
        if supersample > 1:
            hits = trace(solids, *center)
            seen = surfaces(self.scene, solids, which, hits, *center)

        def image(values: Tensor) -> Tensor:
            """Images [p, c, h, w] of rays' values [c, n]."""
            return bundled_images(values.reshape(-1, *hits.t.shape).movedim(0, 2), cameras.hw, 1)

        images = {
            "rgb": srgb_from_linear(light.clamp(0, 1)),
            "depth": image(torch.where(seen.hit, seen.t, torch.inf)),
            "instances": image(torch.where(seen.hit, self.scene.instance.flatten()[seen.primitive], -1)),
        }
        if "classes" in truths:
            images["classes"] = image(torch.where(seen.hit, self.scene.semantic.flatten()[seen.primitive], -1))
        if "normals" in truths:
            images["normals"] = image(torch.where(seen.hit, seen.normal, -_unit(flat(center[1], hits.t))))
        if set(truths) & {"flow", "scene_flow", "visibility"}:
            motion = self._next_frame(chosen, seen, hits, *center, "visibility" in truths)
            images |= {name: image(values) for name, values in motion.items() if name in truths}
        return images

    def _take(self, index: Tensor) -> tuple[Cameras, Tensor, Solids]:
        """Cameras, scenes and primitives of some images."""
        frames = self.cameras.shape[1]
        which = index // frames
        solids = Solids(*(getattr(self.solids, name)[index] for name in Solids.__dataclass_fields__))
        return self.cameras[which, index % frames], which, solids

    def _next_frame(
        self, chosen: slice, seen: Surfaces, hits: Hits, origin: Tensor, direction: Tensor, visibility: bool
    ) -> dict[str, Tensor]:
        """Where each ray's surface point will be in the next frame: flow, scene flow and visibility [c, n]."""
        frames = self.cameras.shape[1]
        index = torch.arange(len(self), device=self.cameras.K.device)[chosen]
        last = index % frames == frames - 1
        cameras, which, solids = self._take(torch.where(last, index, index + 1))
        here, size = self.cameras[which, index % frames], self.scene.size[which]
        image = torch.arange(len(index), device=index.device).repeat_interleave(hits.t[0].numel())
        slots = solids.kind.shape[1]
        row = image * slots + seen.primitive % slots
        # The same point of the same body, a frame later: rotation (the transpose of A times size) and center.
        linear = solids.unit_from_world[..., :3].flatten(0, 1) * size.flatten(0, 1)[..., None]
        turn, center = linear.flatten(1).T.index_select(1, row), solids.center.flatten(0, 1).T.index_select(1, row)
        moved = torch.stack([(turn[axis::3] * seen.local).sum(0) for axis in range(3)]) + center
        o, d = flat(origin, hits.t), flat(direction, hits.t)
        eye = cameras.centers.T[:, image]
        towards = torch.where(seen.hit, moved - eye, d)  # the sky is infinitely far
        uv, z = _project(cameras, image, towards)
        before, _ = _project(here, image, torch.where(seen.hit, seen.point - o, d))
        ahead = (z > GRAZING * length(towards)) & ~last[image]
        images = {
            "flow": torch.where(ahead, uv - before, 0.0),
            "scene_flow": torch.where(seen.hit & ~last[image], moved - seen.point, 0.0),
        }
        bundled = towards.reshape(3, *hits.t.shape).movedim(0, 2).contiguous()
        if visibility:
            blocked = trace(solids, cameras.centers[:, None, :, None], bundled).t.reshape(-1)
            edge = uv.new_tensor([cameras.hw[1], cameras.hw[0]])[:, None]
            inside = ((uv >= 0) & (uv <= edge)).all(0)
            images["visibility"] = ahead & inside & torch.where(seen.hit, blocked >= 1 - UNSEEN, blocked.isinf())
        return images


def image_bundles(cameras: Cameras, supersample: int) -> tuple[Tensor, Tensor]:
    """Rays of images [p] in square bundles: origins [p, 1, 3, 1], directions [p, t, 3, k] with camera z = 1, or of
    unit length where a lens has depth along the ray.

    Bundles over the lower and right edge repeat the last rays.
    """
    fine = cameras.resized((cameras.hw[0] * supersample, cameras.hw[1] * supersample))
    uv = pixel_centers(fine.hw, fine.K.device, fine.K.dtype)
    for axis in (0, 1):
        count = -(-uv.shape[axis] // _BUNDLE) * _BUNDLE
        index = torch.arange(count, device=uv.device).clamp_max(uv.shape[axis] - 1)
        uv = uv.index_select(axis, index)
    direction = camera_directions(fine, uv)
    direction = rearrange(direction, "p (y i) (x j) c -> p c (y x i j)", i=_BUNDLE, j=_BUNDLE)
    direction = fine.world_from_camera[..., :3, :3] @ direction
    direction = rearrange(direction, "p c (t k) -> p t c k", k=_BUNDLE**2)
    return fine.centers[:, None, :, None], direction.contiguous()


def bundled_images(bundled: Tensor, hw: tuple[int, int], supersample: int) -> Tensor:
    """Images [p, c, h, w] of bundled values [p, t, c, k], the mean over the rays of each pixel."""
    height, width = hw[0] * supersample, hw[1] * supersample
    across = -(-width // _BUNDLE)
    fine = rearrange(bundled, "p (y x) c (i j) -> p c (y i) (x j)", x=across, i=_BUNDLE)[..., :height, :width]
    if supersample == 1:
        return fine
    return rearrange(fine, "p c (h i) (w j) -> p c h w (i j)", i=supersample, j=supersample).mean(-1)


def _project(cameras: Cameras, image: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel positions [2, n] and depth [n] (`geometry.camera.projection.project`) of points [3, n] given from the
    centers of cameras `image` [n], equally many of each and in order."""
    if cameras.lens is not None:
        in_camera = rearrange(offset, "c (p n) -> p n c", p=len(cameras)) @ cameras.world_from_camera[:, :3, :3]
        uv, depth = pixels_of(cameras, in_camera)
        return uv.flatten(0, 1).T, depth.flatten()
    rows = _image_rows(cameras).flatten(1).T.contiguous().index_select(1, image)
    x, y, w, z = (
        (rows[3 * i] * offset[0] + rows[3 * i + 1] * offset[1] + rows[3 * i + 2] * offset[2]) for i in range(4)
    )
    w = torch.where(w.abs() < 1e-9, torch.full_like(w, 1e-9), w)
    return torch.stack([x / w, y / w]), z


def _image_rows(cameras: Cameras) -> Tensor:
    """Rows [p, 4, 3] that give a point's pixel, times its depth, and its z-depth, from the camera's center."""
    image = cameras.K @ cameras.world_from_camera[:, :3, :3].transpose(-1, -2)
    return torch.cat([image, cameras.world_from_camera[:, :3, 2][:, None]], 1)


def _unit(vector: Tensor) -> Tensor:
    return vector / length(vector)
