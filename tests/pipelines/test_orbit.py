"""From images to worlds, with the embedded weights and few steps."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import worldgen
from geometry.camera.projection import project
from geometry.io.assets.ply import read_ply
from geometry.io.captures.nerfstudio import read_transforms
from geometry.io.images import read_depth_png, read_image
from geometry.io.video import read_mp4
from geometry.points.pointclouds import PointCloud
from tests.pipelines.conftest import PIVOT
from worldgen.core.clip import Clip
from worldgen.core.conditioning import Conditioning
from worldgen.core.normalization import scene_scale_from_cameras
from worldgen.evaluation.held_out import scored
from worldgen.evaluation.metrics.image import psnr
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import ONE_CALL, Sampling, Wrap, generate_views
from worldgen.sampling.denoiser import Denoiser, FunctionDenoiser
from worldgen.sampling.guidance import Guidance
from worldgen.scenes.cameras.viewpoints import NUMBERS, ring
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but the timings."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "timings.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}


def test_everything_is_written_and_reads_back(tiny: WorldModel, capture: Path, tmp_path: Path) -> None:
    import trimesh

    out = tmp_path / "out"
    image = capture / "images" / "0.png"
    world = worldgen.orbit(tiny, [image], frames=11, radius=3.3, elevation_deg=28.0, fov_deg=52.0, steps=2)
    world.save(out)
    assert read_mp4(out / "video.mp4").shape[0] == 11
    posed = read_transforms(out / "transforms.json")
    assert len(posed) == 12 and torch.allclose(
        posed.cameras.world_from_camera[:11].float(), world.clip.cameras.world_from_camera
    )
    assert len(list((out / "frames").iterdir())) == len(list((out / "depth").iterdir())) == 11
    manifest = json.loads((out / "manifest.json").read_text())
    unit = manifest["depth_png_metres_per_unit"]
    depth, saved = world.clip.depth[3], read_depth_png(out / "depth" / "0003.png", unit)
    assert torch.equal(depth.isinf(), saved.isinf()) and unit >= 0.001
    assert bool(((depth - saved)[depth.isfinite()].abs() <= unit * 0.51).all())
    cloud = read_ply(out / "points.ply")
    assert isinstance(cloud, PointCloud) and len(cloud) == len(world.points) > 100
    mesh = trimesh.load_mesh(out / "mesh.glb")
    assert len(mesh.faces) == len(world.mesh.faces) > 100
    assert manifest["model"]["weights_sha256"] == tiny.weights_sha256 and manifest["metric"] is True
    assert manifest["unit"] == "metres" and b"z up, metres;" in (out / "points.ply").read_bytes()[:200]
    assert (out / "contact_sheet.png").stat().st_size > 1000


def test_the_given_image_is_frame_0_bit_for_bit(tiny: WorldModel, truth: Clip, tmp_path: Path) -> None:
    square = truth.rgb[0, :, :, 4:68].mul(255).round().div(255)
    world = worldgen.orbit(tiny, [square], frames=9, steps=1)
    assert world.manifest["unit"] == "scale guessed by the model" and world.manifest["metric"] is False
    assert torch.equal(world.clip.rgb[0], square) and torch.equal(world.given.rgb[0], square)
    world.save(tmp_path / "out")
    assert torch.equal(read_image(tmp_path / "out" / "frames" / "0000.png"), square)


def test_the_same_seed_gives_the_same_bytes_and_another_other_ones(
    tiny: WorldModel, capture: Path, tmp_path: Path
) -> None:
    images = [capture / "images" / name for name in ("0.png", "2.png")]
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        world = worldgen.orbit(tiny, images, capture / "transforms.json", frames=10, seed=seed, steps=2)
        world.save(tmp_path / name)
    first, same, other = (bytes_of(tmp_path / name) for name in "abc")
    assert first == same and first.keys() == other.keys()
    kept = {name for name in first if first[name] == other[name]}
    assert kept - {"transforms.json"} == {"given/0000.png", "given/0001.png"}  # which names the unit of depth


def test_several_images_orbit_what_they_look_at(tiny: WorldModel, capture: Path, truth: Clip) -> None:
    images = [capture / "images" / f"{i}.png" for i in (0, 2, 3)]
    world = worldgen.orbit(tiny, images, capture / "transforms.json", frames=5, steps=1)
    assert torch.allclose(torch.tensor(world.manifest["pivot"]), PIVOT, atol=1e-3)
    assert abs(world.manifest["radius"] - 3.3) < 1e-3 and abs(world.manifest["elevation_deg"] - 28) < 1e-2
    center, _ = project(world.clip.cameras, PIVOT.expand(5, 1, 3))
    assert torch.allclose(center, torch.full_like(center, 32.0), atol=0.05)
    assert world.held_out is not None and len(world.held_out.rendered) == 3 and world.held_out.scores is None
    world = scored(world)
    assert world.held_out is not None and world.manifest["held_out"] == world.held_out.scores
    scores = world.held_out.scores
    assert scores is not None
    assert scores["mean_psnr_db"] == pytest.approx(sum(scores["psnr_db"]) / 3, abs=1e-3)
    assert scores["names"] == ["images/1.png", "images/4.png", "images/5.png"]


def test_given_cameras_are_rendered_instead_of_an_orbit(tiny: WorldModel, capture: Path, truth: Clip) -> None:
    images = [capture / "images" / f"{i}.png" for i in (0, 2)]
    file = capture / "transforms.json"
    world = worldgen.orbit(tiny, images, file, views=file, steps=1)
    assert torch.allclose(world.clip.cameras.world_from_camera, truth.cameras.world_from_camera, atol=1e-6)


def test_more_frames_than_the_model_sees_at_once_are_all_made(tiny: WorldModel, truth: Clip) -> None:
    for frames in (1, 2, 8, 9, 21):
        world = worldgen.orbit(tiny, [truth.rgb[0]], frames=frames, steps=1)
        assert len(world.clip) == frames
        assert bool((world.clip.rgb.flatten(1).std(1) > 0.01).all()), frames
        assert bool((world.clip.depth > 0).all()), frames


def test_padding_keeps_the_whole_image(tiny: WorldModel, truth: Clip) -> None:
    crop, pad = (
        worldgen.orbit(tiny, [truth.rgb[0]], frames=1, steps=1, fov_deg=52.0, fit=fit) for fit in ("crop", "pad")
    )
    assert torch.equal(crop.clip.rgb[0], truth.rgb[0, :, :, 4:68])
    f_crop, f_pad = (float(world.clip.cameras.K[0, 0, 0]) for world in (crop, pad))
    assert f_pad == pytest.approx(f_crop * 64 / 72, rel=1e-5)


def test_an_image_follows_its_camera(tiny: WorldModel) -> None:
    """The counterfactual: of two cameras, each one's prediction is nearer to its own truth than to the other's."""
    scenes, generator = 8, torch.Generator().manual_seed(3)
    per_scene = torch.rand(scenes, NUMBERS, generator=generator)
    per_frame = torch.rand(scenes, 4, NUMBERS, generator=generator)
    per_frame[:, :, 0] = torch.tensor([0.3, 0.7, 0.1, 0.9])  # given at -18 and +18 degrees, asked at -37 and +37
    cameras = ring(per_scene, per_frame, torch.full((scenes,), 46.0), (64, 64))
    truth = render(tabletop(0, list(range(100, 100 + scenes)), held_out=True), cameras)
    known = Clip(truth.rgb[:, :2], torch.zeros_like(truth.depth[:, :2]), cameras[:, :2])
    made = generate_views(tiny, known, cameras[:, 2:], scene_scale_from_cameras(cameras), ONE_CALL).rgb[:, 2:]
    own = psnr(made, truth.rgb[:, 2:])
    others = psnr(made, truth.rgb[:, 2:].flip(1))
    assert (own - others).mean() > 1.5, (own - others).mean()
    assert ((own - others) > 0).float().mean() > 0.8


def test_guidance_changes_what_is_made_but_not_what_is_given(tiny: WorldModel, truth: Clip) -> None:
    square = truth.rgb[:1, :, :, 4:68]
    cameras = truth.cameras.cropped(0, 4, (64, 64))
    known = Clip(square[None], torch.zeros(1, 1, 1, 64, 64), cameras[None, :1])
    plain, guided = (
        generate_views(tiny, known, cameras[None, 1:3], torch.tensor([3.3]), Sampling(steps=2, guidance=scale))
        for scale in (1.0, 3.0)
    )
    assert torch.equal(plain.rgb[:, :1], guided.rgb[:, :1])
    assert not torch.equal(plain.rgb[:, 1:], guided.rgb[:, 1:])


def test_views_take_every_scale_and_a_wrapper_of_the_denoiser(tiny: WorldModel, truth: Clip) -> None:
    """The image scale of a guidance is that of the sampling; a wrapper is told the cameras in the network's
    normalization."""
    cameras = truth.cameras.cropped(0, 4, (64, 64))[None, :3]
    known = Clip(truth.rgb[None, :1, :, :, 4:68], torch.zeros(1, 1, 1, 64, 64), cameras[:, :1])
    told = []

    def constant(denoiser: Denoiser, conditioning: Conditioning) -> Denoiser:
        told.append(conditioning.cameras)
        return FunctionDenoiser.like(denoiser, lambda x, level, _: torch.zeros_like(x))

    def made(guidance: Guidance | None, scale: float = 1.0, wrap: Wrap | None = None) -> Tensor:
        sampling = Sampling(steps=2, guidance=scale)
        size = torch.tensor([3.3])
        return generate_views(tiny, known, cameras[:, 1:], size, sampling, guidance=guidance, wrap=wrap).rgb[:, 1:]

    assert torch.equal(made(None, 3.0), made(Guidance(image=3.0)))
    assert not torch.equal(made(Guidance()), made(Guidance(camera=2.0)))
    assert torch.allclose(made(None, wrap=constant), torch.tensor(0.5))
    assert torch.allclose(told[0].world_from_camera[0, 0], torch.eye(4), atol=1e-5)
