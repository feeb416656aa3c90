"""Tabletop scenes and their cameras: functions of a seed and a number, within their documented distributions."""

from itertools import product

import pytest
import torch

from geometry.errors import InputError
from tests.scenes.truth import SOLIDS, mesh
from worldgen.runtime.rng import Stream, normal, stream, uniform
from worldgen.scenes.cameras.viewpoints import NUMBERS, ring
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.scene import Scene


def numbers(scene: Scene) -> torch.Tensor:
    """All numbers of scenes, one row a scene."""
    light, motion = scene.light, scene.motion
    parts = [scene.kind, motion.position, motion.rotation, scene.size, scene.material.textures.table(), light.to_sun]
    parts += [light.sun, light.ambient, light.horizon, light.zenith]
    return torch.cat([part.flatten(1).double() for part in parts], 1)


def test_a_scene_is_a_function_of_its_seed_and_number_whatever_the_batch_and_order() -> None:
    together = numbers(tabletop(3, [0, 5, 2, 900]))
    assert torch.equal(numbers(tabletop(3, [0, 5, 2, 900])), together)
    # Vectorised powers and sines may round differently at another place in memory.
    assert torch.allclose(numbers(tabletop(3, [900, 0])), together[[3, 0]], rtol=0, atol=1e-6)
    assert torch.allclose(numbers(tabletop(3, [5])), together[[1]], rtol=0, atol=1e-6)


def test_scenes_of_other_numbers_and_other_seeds_differ() -> None:
    rows = torch.cat([numbers(tabletop(seed, [0, 1, 2])) for seed in (0, 1)])
    assert len(rows.unique(dim=0)) == 6


def test_a_held_out_scene_is_not_a_training_scene_of_any_small_seed_or_number() -> None:
    held = numbers(tabletop(0, list(range(5)), held_out=True))
    training = torch.cat([numbers(tabletop(seed, list(range(20)))) for seed in range(5)])
    assert torch.cdist(held, training).min() > 0.5


def test_no_two_purposes_and_seeds_share_a_random_key() -> None:
    seeds = [0, 1, 2, 3, 4, 2**62, 2**63 - 1]
    keys = {tuple(stream(d, s).bit_generator.state["state"]["key"].tolist()) for d, s in product(Stream, seeds)}
    assert len(keys) == len(Stream) * len(seeds)


def test_streams_at_different_addresses_differ_and_at_the_same_agree() -> None:
    addresses = [(), (1,), (0, 1), (0, 0, 1), (2, 3, 4), (4, 3, 2)]
    draws = [uniform(Stream.TRAINING, 9, address, (16,)) for address in addresses]
    assert len(torch.stack(draws).unique(dim=0)) == len(addresses)
    assert torch.equal(draws[4], uniform(Stream.TRAINING, 9, (2, 3, 4), (16,)))
    assert not torch.equal(normal(Stream.TRAINING, 9, (1,), (16,)), normal(Stream.SAMPLING, 9, (1,), (16,)))


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_is_not_a_key_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match="expected a whole number"):
        tabletop(seed, [0])


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(InputError, match="expected 0 or more"):
        tabletop(0, [3, -1])


def test_every_object_stands_on_the_ground_within_the_table() -> None:
    scene = tabletop(0, list(range(60)))
    position, rotation = (part[:, 0] for part in scene.motion.at(torch.zeros(60, 1)))
    for kind in SOLIDS:
        chosen = scene.kind == kind
        stretch = rotation[chosen] * scene.size[chosen][:, None]
        vertices = torch.from_numpy(mesh(kind).vertices.copy()).float()
        lowest = (vertices @ stretch[:, 2, :].T).amin(0) + position[chosen][:, 2]
        assert chosen.sum() > 20
        assert lowest.abs().max() < 1e-3
    assert position[..., :2].norm(dim=-1).max() <= 1.1
    assert set((scene.instance * (scene.kind >= 0) > 0).sum(1).tolist()) == {2, 3, 4}


def test_rotations_are_rotations_and_half_of_them_upright() -> None:
    rotation = tabletop(0, list(range(200))).motion.at(torch.zeros(200, 1))[1][:, 0, :4]
    identity = torch.eye(3).expand_as(rotation)
    assert torch.allclose(rotation @ rotation.transpose(-1, -2), identity, atol=1e-5)
    assert torch.allclose(torch.linalg.det(rotation), torch.tensor(1.0), atol=1e-5)
    assert (rotation[..., 2, 2] > 1 - 1e-6).double().mean() == pytest.approx(0.5, abs=0.06)


def test_light_and_colors_are_physical() -> None:
    scene = tabletop(0, list(range(100)))
    textures = scene.material.textures
    assert torch.allclose(scene.light.to_sun.norm(dim=-1), torch.tensor(1.0), atol=1e-5)
    elevation = torch.rad2deg(scene.light.to_sun[:, 2].asin())
    assert elevation.min() > 24.9 and elevation.max() < 70.1
    for color in (textures.color_a, textures.color_b, scene.light.horizon, scene.light.zenith):
        assert bool(((color >= 0) & (color <= 1)).all())


def test_ring_cameras_stand_on_their_arc_around_the_table_and_look_at_it() -> None:
    scene, frame = torch.rand(50, NUMBERS), torch.rand(50, 6, NUMBERS)
    cameras = ring(scene, frame, torch.full((50,), 20.0), (16, 16))
    target = torch.tensor([0.0, 0.0, 0.25])
    away = cameras.centers - target
    reach = away.norm(dim=-1)
    assert reach.min() > 2.6 * 0.92 - 0.21 and reach.max() < 4.0 * 1.08 + 0.21
    # The axis passes within the jitter of the target, half a side of 0.24 m a component.
    missed = torch.linalg.cross(away, cameras.forward).norm(dim=-1)
    assert missed.max() < 0.12 * 3**0.5 + 1e-4
    middle = 2 * torch.pi * scene[:, None, 3]
    turned = torch.rad2deg(torch.atan2(away[..., 1], away[..., 0]) - middle + torch.pi).remainder(360) - 180
    assert turned.abs().max() < 20 + 10 and turned.abs().max() > 15  # 10 degrees for the jitter of the target
    fov = torch.rad2deg(2 * torch.atan(8 / cameras.K[..., 0, 0]))
    assert torch.allclose(fov, (45 + 15 * scene[:, None, 2]).expand_as(fov), atol=1e-3)
