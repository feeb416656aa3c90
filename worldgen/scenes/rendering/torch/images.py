"""Images and truths by torch: the reference, on any device, in any float type, with gradients."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.camera.projection import pixels_of
from geometry.conventions import srgb_from_linear
from worldgen.scenes.rendering.bundles import bundled_images, image_bundles
from worldgen.scenes.rendering.constants import GRAZING, UNSEEN
from worldgen.scenes.rendering.solids import Hits, Solids
from worldgen.scenes.rendering.torch.shading import Surfaces, flat, length, shade, surfaces
from worldgen.scenes.rendering.tracing import trace
from worldgen.scenes.scene import Scene


def render_torch(
    scene: Scene,
    cameras: Cameras,
    solids: Solids,
    supersample: int,
    truths: Sequence[str],
    prefilter: bool,
    chunk_rays: int,
) -> dict[str, Tensor]:
    """Every image by name, [p, c, h, w], as `worldgen.scenes.rendering.renderer.render` says; `solids` of the p = b f
    images."""
    height, width = cameras.hw
    step = max(1, chunk_rays // (height * width * (supersample**2 + 1)))
    renderer = _ImageRenderer(scene, cameras, solids, supersample, truths, prefilter)
    parts = [renderer.render(slice(start, start + step)) for start in range(0, len(renderer), step)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class _ImageRenderer:
    """All images of a call, [b, f] as one axis p, and the primitives at the moment of each."""

    scene: Scene
    cameras: Cameras
    solids: Solids
    supersample: int
    truths: Sequence[str]
    prefilter: bool

    def __len__(self) -> int:
        return self.cameras.shape.numel()

    def render(self, chosen: slice) -> dict[str, Tensor]:
        """Some of the images by name, [p, c, h, w]."""
        supersample, truths = self.supersample, self.truths
        cameras, which, solids = self._take(torch.arange(len(self), device=self.cameras.K.device)[chosen])
        origin, direction = image_bundles(cameras, supersample)
        hits = trace(solids, origin, direction)
        pixel = 1 / (supersample * cameras.K[:, 0, 0]) if self.prefilter else None
        seen = surfaces(self.scene, solids, which, hits, origin, direction)
        light = shade(self.scene, solids, which, hits, seen, direction, pixel)
        light = bundled_images(light.reshape(3, *hits.t.shape).movedim(0, 2), cameras.hw, supersample)

        center = (origin, direction) if supersample == 1 else image_bundles(cameras, 1)
        if supersample > 1:
            hits = trace(solids, *center)
            seen = surfaces(self.scene, solids, which, hits, *center)

        def image(values: Tensor) -> Tensor:
            """Images [p, c, h, w] of the rays' values [c, n]."""
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
