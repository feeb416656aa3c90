"""The compiled tracer against the torch reference, and both against trying every primitive on every ray."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import look_at
from tests.scenes.rendering.test_truths import flying, moving
from worldgen.scenes.families.builder import Builder, height_field, plain
from worldgen.scenes.rendering.bundles import image_bundles
from worldgen.scenes.rendering.solids import Hits, Solids
from worldgen.scenes.rendering.tracing import trace
from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import Shape

KINDS = [kind for kind in Shape if kind not in (Shape.NONE, Shape.MESH)]


def crowd(seed: int) -> Scene:
    """Forty solids from tiny to huge everywhere around, some behind the camera and around it, and a terrain."""
    rng, build = np.random.default_rng(seed), Builder()
    for n in range(40):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        size = rng.uniform(0.5, 1.5, 3) * 10 ** rng.uniform(-1.5, 0.3)
        kind = KINDS[n % len(KINDS)]
        center = rng.uniform(-3, 3, 3) if kind != Shape.PLANE else (0, 0, -4 - n)
        build.add(kind, center, size, plain((0.5, 0.5, 0.5)), rotation=None if kind == Shape.PLANE else turn,
                  form=rng.uniform(0.2, 0.8, 2), instance=build.thing())  # fmt: skip
    build.mesh(height_field(rng.uniform(0, 0.5, (9, 9)), (4.0, 3.0)), (0, 0, -2), plain((0.5, 0.5, 0.5)))
    light = np.full(3, 0.4)
    return build.scene((0, 0, 1), light, light, light, light)


def same(first: Hits, second: Hits, share: float) -> None:
    """The hits agree on nearly all rays, and where they do the depths agree."""
    equal = (first.slot == second.slot) & (first.triangle == second.triangle)
    assert equal.double().mean() >= share
    hit = equal & (first.slot >= 0)
    assert hit.double().mean() > 0.1
    assert torch.allclose(first.t[hit], second.t[hit], rtol=2e-4)
    # Grazing rays and tangents lose digits; of all others the two agree to float32's rounding.
    error = (first.t[hit] / second.t[hit] - 1).abs()
    assert (error <= 2e-5).double().mean() > 0.998 and error.median() < 1e-6
    assert torch.equal(first.t.isinf() & equal, (first.slot < 0) & equal)


@pytest.mark.parametrize("fov_deg", [8.0, 50.0, 150.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_numba_and_torch_find_the_same_hits(seed: int, fov_deg: float) -> None:
    pytest.importorskip("numba")
    scene = crowd(seed)
    eye = torch.tensor([[[0.3, -6.0, 2.0], [0.5, 0.4, 0.6], [4.0, 4.0, -1.0]]])
    cameras = Cameras.from_fov(look_at(eye, torch.zeros(3)), fov_deg, (48, 64))
    solids, bundles = Solids.of(scene, cameras.time_s), image_bundles(cameras[0], 1)
    same(trace(solids, *bundles), trace(solids, *bundles, reference=True), 0.9985)


@pytest.mark.parametrize("reference", [False, True])
def test_bounding_cones_never_lose_a_hit(reference: bool) -> None:
    scene = crowd(3)
    eye = torch.tensor([[[0.3, -6.0, 2.0], [0.5, 0.4, 0.6]]])
    cameras = Cameras.from_fov(look_at(eye, torch.zeros(3)), 60.0, (48, 64))
    solids, (origin, direction) = Solids.of(scene, cameras.time_s), image_bundles(cameras[0], 1)
    endless = replace(solids, reach=torch.where(solids.reach > 0, torch.inf, solids.reach))
    culled, every = (trace(part, origin, direction, reference) for part in (solids, endless))
    # A mesh's triangles have balls of their own, which stay.
    assert torch.equal(culled.t, every.t) and torch.equal(culled.slot, every.slot)


@pytest.mark.parametrize("reference", [False, True])
def test_hits_do_not_depend_on_how_rays_are_bundled_or_shared(reference: bool) -> None:
    scene, cameras = moving(), flying(2, (32, 32))
    solids, (origin, direction) = Solids.of(scene, cameras.time_s), image_bundles(cameras[0], 1)
    whole = trace(solids, origin, direction, reference)
    spread = trace(solids, origin.expand(-1, 4, -1, 256).contiguous(), direction, reference)
    assert torch.allclose(whole.t, spread.t, rtol=1e-5) and torch.equal(whole.slot, spread.slot)
    single = direction.movedim(2, 3).reshape(2, 1024, 3, 1)  # one ray a bundle
    alone = trace(solids, origin, single, reference)
    assert torch.allclose(alone.t.view(2, 4, 256), whole.t, rtol=1e-5)
    assert torch.equal(alone.slot.view(2, 4, 256), whole.slot)


@pytest.mark.parametrize("reference", [False, True])
def test_parallel_rays_from_many_places_are_followed_too(reference: bool) -> None:
    scene = moving()
    solids = Solids.of(scene, torch.zeros(1, 1))
    grid = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij"), -1)
    start = torch.cat([grid.view(256, 2), torch.full((256, 1), 5.0)], -1).T[None, None]
    down = torch.tensor([0.0, 0.0, -2.0])[None, None, :, None]
    hits = trace(solids, start, down, reference)
    one_by_one = [trace(solids, start[..., k : k + 1], down, reference) for k in range(256)]
    assert torch.allclose(hits.t.flatten(), torch.cat([one.t.flatten() for one in one_by_one]), rtol=1e-5)
    assert torch.equal(hits.slot.flatten(), torch.cat([one.slot.flatten() for one in one_by_one]))
    assert len(hits.slot.unique()) > 3


def test_more_threads_give_the_same_hits() -> None:
    pytest.importorskip("numba")
    scene, cameras = crowd(2), flying(5, (32, 32))
    solids, bundles = Solids.of(scene, cameras.time_s), image_bundles(cameras[0], 1)
    one = trace(solids, *bundles)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        three = trace(solids, *bundles)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one.t, three.t) and torch.equal(one.slot, three.slot)
