"""Every family of scenes gives the same scene for the same number, other scenes for others, no NaN, and a caption."""

import pytest
import torch

from geometry.errors import InputError
from worldgen.scenes.cameras.sampling import ClipSpec, arc, clear_of
from worldgen.scenes.cameras.viewpoints import arcs
from worldgen.scenes.families.builder import Builder, plain
from worldgen.scenes.families.family import FAMILIES, Family, draw, find_family, listed, views
from worldgen.scenes.rendering.renderer import TRUTHS, render
from worldgen.scenes.scene import Scene, stack
from worldgen.scenes.shapes import Shape

CLIP = ClipSpec(4, 4.0, (20, 24))


def numbers(scene: Scene) -> torch.Tensor:
    """All numbers of one scene as one row, without the padding."""
    present = scene.kind[0] >= 0
    material = scene.material.textures.table()[0][present]
    poses = torch.cat([scene.motion.position[0], scene.motion.rotation[0]], -1)[present]
    light = torch.cat([scene.light.to_sun, scene.light.sun, scene.light.zenith], -1)
    shapes = [scene.kind[0][present].float(), scene.size[0][present].flatten(), scene.instance[0][present].float()]
    return torch.cat([*shapes, material.flatten(), poses.flatten(), light.flatten()])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_scene_is_a_function_of_its_seed_and_number_whatever_the_batch_and_order(family: str) -> None:
    together = draw(family, 3, [7, 0, 12])
    for row, index in enumerate([7, 0, 12]):
        alone = draw(family, 3, [index])
        moments = alone.motion.time_s.shape[1]
        own = numbers(together[row : row + 1])
        # Padding repeats the last moment.
        assert together.captions[row] == alone.captions[0]
        assert moments <= together.motion.time_s.shape[1]
        if moments == together.motion.time_s.shape[1]:
            assert torch.allclose(numbers(alone), own, rtol=0, atol=1e-6)
        cameras = views(family, alone, 3, [index], False, CLIP)
        again = views(family, together, 3, [7, 0, 12], False, CLIP)[row : row + 1]
        assert torch.equal(cameras.world_from_camera, again.world_from_camera)
        first, second = render(alone, cameras), render(together[row : row + 1], again)
        assert torch.allclose(first.rgb, second.rgb, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_other_numbers_other_seeds_and_the_held_out_series_are_other_scenes(family: str) -> None:
    addresses = ((0, 0, False), (0, 1, False), (1, 0, False), (0, 0, True), (0, 1, True))
    scenes = [draw(family, seed, [index], held_out) for seed, index, held_out in addresses]
    prints = {tuple(scene.light.zenith[0].tolist()) for scene in scenes}
    assert len(prints) == len(scenes)


@pytest.mark.parametrize("family", FAMILIES)
def test_images_and_truths_are_numbers_and_cameras_stand_in_the_open(family: str) -> None:
    indices = list(range(5))
    scene = draw(family, 11, indices, True)
    scene.check()
    cameras = views(family, scene, 11, indices, True, CLIP)
    clip = render(scene, cameras, truths=TRUTHS)
    for name, values in clip.maps().items():
        assert not bool(values.isnan().any()), name
    assert clip.instances is not None and clip.classes is not None
    assert bool(((clip.rgb >= 0) & (clip.rgb <= 1)).all()) and clip.rgb.std() > 0.05
    assert bool((clip.depth > 0).all()) and (clip.instances > 0).double().mean() > 0.01
    assert torch.equal(clip.instances == -1, clip.classes == -1)
    clear = torch.stack([clear_of(scene[b : b + 1], cameras[b], 0.05) for b in indices])
    assert clear.double().mean() > 0.95
    assert all(caption.endswith(".") and len(caption) > 15 for caption in scene.captions)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_negative_number_is_refused(family: str) -> None:
    with pytest.raises(InputError, match="expected 0 or more"):
        draw(family, 0, [3, -1])


def test_a_family_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="castle"):
        draw("castle", 0, [0])
    with pytest.raises(InputError, match="castle"):
        views("castle", draw("tabletop", 0, [0]), 0, [0], False, CLIP)


def test_in_a_street_nothing_comes_near_a_camera_on_the_ego_car() -> None:
    from worldgen.scenes.families.street import ego_speed, street

    times = torch.linspace(0, 4, 17)
    for index in range(25):
        scene, speed = street(2, [index]), ego_speed(2, index)
        position, rotation = scene.motion.at(times[None])
        for t, place, turn in zip(times, position[0], rotation[0]):
            x = speed * float(t)
            # The car is a box of 4 x 2 m around the camera; whatever is not flat on the ground keeps out of it.
            corner = torch.tensor([(i, j) for i in (-2.0, 0.0, 2.0) for j in (-1.0, 0.0, 1.0)])
            points = torch.cat([corner + torch.tensor([x, 0.0]), torch.full((9, 1), 0.8)], -1)
            local = (points[:, None] - place)[..., None, :] @ turn
            inside = (local.squeeze(-2).abs() < scene.size[0]).all(-1) & (scene.kind[0] >= 0)
            inside &= scene.kind[0] != Shape.PLANE
            assert not bool(inside.any()), (index, float(t), scene.semantic[0][inside.any(0)])


def test_captions_name_what_is_there() -> None:
    scene = draw("tabletop", 0, list(range(30)))
    for b, caption in enumerate(scene.captions):
        present = {
            Shape(k).name.lower() for k, i in zip(scene.kind[b].tolist(), scene.instance[b].tolist()) if k >= 0 < i
        }
        for noun in ("ball", "box", "cylinder", "cone"):
            assert (noun in caption) == (noun in present), caption
    street = draw("street", 0, list(range(12)))
    for caption, sun in zip(street.captions, street.light.sun):
        assert ("night" in caption) == (float(sun.sum()) == 0)


def test_the_numbers_in_the_addresses_of_random_streams_never_change() -> None:
    numbers = {"tabletop": 0, "room": 1, "street": 2, "physics": 3, "texture_soup": 4}
    assert {name: family.number for name, family in FAMILIES.items()} == numbers


@pytest.mark.parametrize("family", FAMILIES)
def test_things_move_in_the_families_that_say_so(family: str) -> None:
    position = draw(family, 1, list(range(12))).motion.position
    assert bool((position != position[:, :, :1]).any()) == FAMILIES[family].moves
    assert f"{family} ({FAMILIES[family].summary}" in listed()


def balls(seed: int, numbers: list[int], held_out: bool = False) -> Scene:
    """One ball a scene, its radius by the number."""
    scenes = []
    for number in numbers:
        build = Builder()
        build.add(Shape.BALL, (0, 0, 0), (0.2 + 0.1 * number,) * 3, plain((0.8, 0.1, 0.1)), instance=build.thing())
        scenes.append(build.scene((0, 0, 1), *[(0.5, 0.5, 0.5)] * 4))
    return stack(scenes)


def test_a_family_added_from_outside_is_drawn_and_rendered_as_the_others_are(monkeypatch) -> None:
    monkeypatch.setitem(FAMILIES, "balls", Family("one ball", 100, balls, ((arc, 1.0),)))
    scene = draw("balls", 0, [0, 3])
    cameras = views("balls", scene, 0, [0, 3], False, CLIP)
    assert bool(torch.stack([clear_of(scene[b : b + 1], cameras[b], 0.1) for b in range(2)]).all())
    instances = render(scene, cameras).instances
    assert instances is not None and bool((instances == 1).flatten(1).any(1).all()) and "balls (one ball)" in listed()
    with pytest.raises(InputError, match=r"expected one of tabletop, .*, balls"):
        find_family("castle")
    monkeypatch.setitem(FAMILIES, "others", Family("the same", 100, balls, ((arc, 1.0),)))
    with pytest.raises(InputError, match="balls and others of number 100"):
        draw("balls", 0, [0])


def test_a_family_that_needs_numba_is_refused_without_it(monkeypatch) -> None:
    monkeypatch.setattr("worldgen.scenes.families.family.has_numba", lambda: False)
    with pytest.raises(InputError, match=r"physics needs numba; install it with: pip install 'worldgen\[fast\]'"):
        draw("physics", 0, [0])
    assert len(draw("tabletop", 0, [0])) == 1


def test_training_cameras_on_arcs_are_functions_of_seed_and_number_in_order_along_the_arc() -> None:
    spreads = ((5.0, 25.0), (25.0, 60.0), (180.0, 180.0))
    together, alone = arcs(3, [4, 9], 6, spreads, (16, 16)), arcs(3, [9], 6, spreads, (16, 16))
    assert torch.equal(together.world_from_camera[1:], alone.world_from_camera)
    narrow = arcs(3, list(range(20)), 6, ((5.0, 25.0),), (16, 16))
    azimuth = torch.atan2(narrow.centers[..., 1], narrow.centers[..., 0])
    steps = torch.rad2deg(azimuth.diff() + torch.pi).remainder(360) - 180
    assert bool((steps > -8).all())  # the point looked at moves by up to 0.17 m, 4 degrees either way
    assert bool((torch.rad2deg(azimuth[:, -1] - azimuth[:, 0] + torch.pi).remainder(360) - 180 < 2 * 25 + 8).all())
