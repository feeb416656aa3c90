"""Rendering of scenes beside Open3D's ray caster (Embree) and Mitsuba: `python -m benchmarks.scenes`.

One process, one thread each, in turn; results must agree before anything is timed. Exits with 1 if a promised ratio is
missed by more than a fifth.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.shared.timing import Result, compare, run_cases
from geometry.camera.cameras import Cameras
from geometry.camera.rays import ray_map
from tests.scenes.solids import SIZE, VIEWS, around, random_scene
from worldgen.scenes.families.family import FAMILIES, draw
from worldgen.scenes.rendering.bundles import image_bundles
from worldgen.scenes.rendering.renderer import render
from worldgen.scenes.rendering.solids import Hits, Solids
from worldgen.scenes.rendering.tracing import trace
from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import Shape
from worldgen.scenes.tessellation import tessellate

CLOSED_FORM = (Shape.BALL, Shape.BOX, Shape.CYLINDER, Shape.CONE, Shape.CAPSULE)


class Embree:
    """Open3D's ray caster on the triangles of one still scene."""

    def __init__(self, scene: Scene, fine: int):
        import open3d

        self._library: Any = open3d  # its stubs know no constructor from arrays
        position, rotation = scene.motion.at(torch.zeros(1, 1))
        self._parts = []
        for n in (scene.kind[0] >= 0).nonzero().squeeze(-1).tolist():
            vertices, faces = tessellate(scene, 0, n, fine)
            world = vertices @ rotation[0, 0, n].double().T + position[0, 0, n].double()
            part = world.float().numpy(), faces.numpy().astype(np.uint32)
            self._parts.append(tuple(self._library.core.Tensor(np.ascontiguousarray(array)) for array in part))
        self.triangles = sum(len(faces) for _, faces in self._parts)
        self.build()

    def build(self) -> None:
        """The hierarchy over the triangles, as for a new scene (its arrays exist)."""
        self.caster = self._library.t.geometry.RaycastingScene(nthreads=1)
        for part in self._parts:
            self.caster.add_triangles(*part)

    def rays(self, cameras: Cameras) -> Any:
        """The rays of cameras [1, f] in the library's own form."""
        origin, direction = ray_map(cameras[0])
        return self._library.core.Tensor(torch.cat([origin, direction], -1).contiguous().numpy())

    def cast(self, rays: Any) -> dict[str, Any]:
        """Distances and ids."""
        return self.caster.cast_rays(rays, nthreads=1)


def agreement(hits: Hits, cast: dict[str, Any]) -> float:
    """The share of rays that both find to hit, or both to miss."""
    ours = hits.slot.reshape(VIEWS, SIZE // 16, SIZE // 16, 16, 16).transpose(2, 3).reshape(VIEWS, SIZE, SIZE) >= 0
    theirs = torch.from_numpy(np.isfinite(cast["t_hit"].numpy()))
    return float((ours == theirs).double().mean())


def primary(name: str, scene: Scene, targets: dict[str, float], repeats: int, fine: int, least: float) -> list[Result]:
    """First hits of 8 x 128 x 128 rays: the scene at hand already, and new each time."""
    cameras = around()
    bundles = image_bundles(cameras[0], 1)
    still = torch.zeros(1, VIEWS)
    solids, peer = Solids.of(scene, still), Embree(scene, fine)
    rays = peer.rays(cameras)
    same = agreement(trace(solids, *bundles), peer.cast(rays))
    assert same >= least, f"{name}: {same:.5f} of the rays agree with Embree; expected {least}"
    note = f"{peer.triangles} triangles for Embree; {same:.4%} of the rays agree"

    def fresh(reference: bool) -> Callable[[], object]:
        return lambda: trace(Solids.of(scene, still), *bundles, reference=reference)

    def rebuilt() -> object:
        peer.build()
        return peer.cast(rays)

    known = {
        "numba": lambda: trace(solids, *bundles),
        "torch": lambda: trace(solids, *bundles, reference=True),
        "Embree": lambda: peer.cast(rays),
    }
    new = {"numba": fresh(False), "torch": fresh(True), "Embree": rebuilt}
    results = compare(f"{name}: first hits", known, "Embree", targets, repeats, note)
    new_targets = {"numba": targets["numba"]} if "numba" in targets else {}
    return results + compare(f"{name}: new scene each time", new, "Embree", new_targets, repeats)


def shaded(repeats: int) -> list[Result]:
    """A shaded clip with depth, normals, ids and flow, beside the color alone of Mitsuba's scalar renderer."""
    import drjit
    import mitsuba as mi

    drjit.set_thread_count(1)
    mi.set_variant("scalar_rgb")
    scene, cameras = random_scene([CLOSED_FORM[n % 2] for n in range(24)], floor=True), around()
    position, rotation = scene.motion.at(torch.zeros(1, 1))
    parts: dict[str, Any] = {
        "type": "scene",
        "integrator": {"type": "direct", "emitter_samples": 1, "bsdf_samples": 0},
        "sun": {"type": "directional", "direction": (-scene.light.to_sun[0]).tolist()},
        "sky": {"type": "constant", "radiance": 0.4},
    }
    for n in range(25):
        pose = torch.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation[0, 0, n] * scene.size[0, n], position[0, 0, n]
        kind = "sphere" if int(scene.kind[0, n]) == Shape.BALL else "cube"
        parts[f"solid{n}"] = {"type": kind, "to_world": mi.ScalarTransform4f(pose.numpy()), "bsdf": {"type": "diffuse"}}
    pose = cameras.world_from_camera[0, 0].clone()
    pose[:3, :2] *= -1  # Mitsuba's cameras have x to the left and y up
    parts["sensor"] = {
        "type": "perspective", "fov": 50.0, "to_world": mi.ScalarTransform4f(pose.numpy()),
        "sampler": {"type": "independent", "sample_count": 1},
        "film": {"type": "hdrfilm", "width": SIZE, "height": SIZE, "rfilter": {"type": "box"}},
    }  # fmt: skip
    world = mi.load_dict(parts)
    truths = ("normals", "flow")
    contestants = {
        "worldgen": lambda: render(scene, cameras, supersample=1, truths=truths),
        "Mitsuba scalar_rgb": lambda: [mi.render(world, spp=1) for _ in range(VIEWS)],
    }
    note = "eight images a run; ours with depth, normals, ids and flow, Mitsuba's color alone"
    return compare(
        "shaded 8 x 128 x 128, 1 ray a pixel", contestants, "Mitsuba scalar_rgb", {"worldgen": 3.0}, repeats, note
    )


def family(name: str, repeats: int) -> list[Result]:
    """First hits in a scene of a family, seen by its own cameras' kind of view."""
    scene = draw(name, 0, [0], held_out=True)
    return primary(name, scene, {}, repeats, 32, 0.9)


def on_gpu(repeats: int) -> list[Result]:
    """Clips a second of 8 x 128 x 128 with 2 x 2 rays a pixel, beside one core."""
    count = 16
    results = []
    for name in FAMILIES:
        scene = draw(name, 0, list(range(count)))
        cameras = around()[[0] * count]

        def clips(device: str, scene: Scene = scene, cameras: Cameras = cameras, share: int = 1) -> None:
            render(scene[: count // share].to(device), cameras[: count // share].to(device))
            if device == "cuda":
                torch.cuda.synchronize()

        runs = {"GPU": lambda: clips("cuda"), "CPU": lambda: clips("cpu")}
        results += compare(f"{name}: {count} clips", runs, "CPU", {}, repeats)
    return results


def main() -> int:
    """Run the requested cases and publish the table."""
    cases: dict[str, Callable[[int], list[Result]]] = {
        "solids": lambda repeats: primary(
            "24 solids", random_scene([CLOSED_FORM[n % 5] for n in range(24)]), {"numba": 2.0, "torch": 0.5},
            repeats, 40, 0.995,
        ),
        "curved": lambda repeats: [
            result
            for kind, least in ((Shape.TORUS, 0.99), (Shape.SUPERQUADRIC, 0.99))
            for result in primary(
                f"24 {kind.name.lower()}", random_scene([kind] * 24), {}, repeats, 40, least
            )
        ] + primary("height field", random_scene([], terrain=True), {}, repeats, 8, 0.999),
        "shaded": shaded,
        "families": lambda repeats: [result for name in FAMILIES for result in family(name, repeats)],
        "gpu": lambda repeats: on_gpu(repeats) if torch.cuda.is_available() else [],
    }  # fmt: skip
    return run_cases("Rendering of scenes", __doc__, cases, repeats=7)


if __name__ == "__main__":
    sys.exit(main())
