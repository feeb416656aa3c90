"""Primitives as triangles: closed, on the surface, and rendered by Open3D's ray caster as the primitives are here."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import trimesh

from geometry.io.video import read_mp4
from geometry.rotation.transforms import rotation_about
from tests.scenes.rendering.test_truths import flying, moving
from tests.scenes.truth import ALL_SOLIDS, FORM, inside, rays
from worldgen.scenes.export import write_clip_mp4, write_scene_glb
from worldgen.scenes.families.builder import Builder, plain, texture
from worldgen.scenes.rendering.renderer import render
from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import Shape
from worldgen.scenes.tessellation import tessellate
from worldgen.scenes.textures import Pattern


def one(kind: Shape) -> Scene:
    """One scene of one solid with different half extents."""
    build = Builder()
    build.add(kind, (0, 0, 1), (0.5, 0.4, 0.7), plain((0.5, 0.5, 0.5)), form=FORM, instance=1)
    light = np.full(3, 0.4)
    return build.scene((0, 0, 1), light, light, light, light)


@pytest.mark.parametrize("kind", ALL_SOLIDS)
def test_a_solid_s_triangles_are_closed_face_outwards_and_lie_on_its_surface(kind: Shape) -> None:
    vertices, faces = tessellate(one(kind), 0, 0, fine=64)
    unit = vertices / torch.tensor([0.5, 0.4, 0.7]).double()
    if kind in (Shape.BALL, Shape.BOX, Shape.CYLINDER, Shape.CAPSULE, Shape.SUPERQUADRIC):  # star-shaped, no apex
        assert bool(inside(kind, unit * (1 - 1e-6)).all()) and not bool(inside(kind, unit * (1 + 1e-6)).any())
    mesh = trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False)
    mesh.merge_vertices(merge_norm=True)
    count = 400_000
    points = 2 * torch.rand(count, 3).double() - 1
    volume = 8 * float(inside(kind, points).double().mean()) * 0.5 * 0.4 * 0.7
    assert mesh.is_winding_consistent and mesh.volume == pytest.approx(volume, rel=0.02)
    edges = np.sort(mesh.edges, axis=1)
    assert set(np.unique(edges, axis=0, return_counts=True)[1].tolist()) == {2}


def test_depth_ids_and_normals_are_those_that_open3d_s_ray_caster_finds_on_the_same_triangles() -> None:
    o3d = pytest.importorskip("open3d", exc_type=ImportError)
    scene, cameras = moving(1), flying(3, (96, 128))
    clip = render(scene, cameras, supersample=1, truths=("normals",))
    assert clip.instances is not None and clip.normals is not None
    position, rotation = scene.motion.at(cameras.time_s)
    instance = torch.cat([scene.instance[0], torch.tensor([-1])])
    for frame in range(3):
        caster = o3d.t.geometry.RaycastingScene()
        slots = []
        for n in range(scene.kind.shape[1]):
            vertices, faces = tessellate(scene, 0, n, fine=768)
            world = vertices @ rotation[0, frame, n].double().T + position[0, frame, n].double()
            caster.add_triangles(world.float().numpy(), faces.numpy().astype(np.uint32))
            slots.append(n)
        origin, direction = rays(cameras[0, frame])
        hit = caster.cast_rays(torch.cat([origin, direction], -1).float().numpy())
        depth = torch.from_numpy(hit["t_hit"].numpy())
        found = torch.from_numpy(hit["geometry_ids"].numpy().astype(np.int64)).clamp(max=scene.kind.shape[1])
        theirs, ours = instance[found], clip.instances[0, frame, 0]
        edges = sum(
            F.max_pool2d(i[None].float(), 3, 1, 1) != -F.max_pool2d(-i[None].float(), 3, 1, 1) for i in (theirs, ours)
        )
        off = (torch.as_tensor(edges)[0] == 0) & (theirs >= 0)
        assert len(theirs[off].unique()) >= 5 and off.double().mean() > 0.5
        assert (theirs == ours)[off].double().mean() >= 0.999
        same = off & (theirs == ours)
        error = ((clip.depth[0, frame, 0] - depth).abs() / depth)[same]
        normal = torch.from_numpy(hit["primitive_normals"].numpy())[same]
        # The floor ends where the square that stands for it does; flat facets stand in for round surfaces.
        assert (error < 1e-4).double().mean() > 0.998 and error.median() < 2e-6
        aligned = (clip.normals[0, frame].movedim(0, -1)[same] * normal).sum(-1).abs()
        assert (aligned > 0.999).double().mean() > 0.99


class Glb:
    """A GLB file's document and numbers, read exactly as the standard prescribes."""

    def __init__(self, path: Path):
        raw = path.read_bytes()
        size = int.from_bytes(raw[12:16], "little")
        self.document, self._binary = json.loads(raw[20 : 20 + size]), raw[28 + size :]

    def values(self, accessor: int) -> np.ndarray:
        """The rows of an accessor of floats."""
        entry = self.document["accessors"][accessor]
        start = self.document["bufferViews"][entry["bufferView"]]["byteOffset"]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[entry["type"]]
        return np.frombuffer(self._binary, "<f4", entry["count"] * width, start).reshape(entry["count"], width)


def test_a_scene_s_glb_holds_its_geometry_and_plays_its_motion(tmp_path: Path) -> None:
    scene = moving()
    write_scene_glb(tmp_path / "scene.glb", scene)
    loaded = trimesh.load(tmp_path / "scene.glb")
    assert isinstance(loaded, trimesh.Scene) and len(loaded.geometry) == 7
    glb = Glb(tmp_path / "scene.glb")
    animation = glb.document["animations"][0]
    assert {channel["target"]["node"] for channel in animation["channels"]} == {1, 2, 3, 4, 5, 6}  # the ground stays
    for channel in animation["channels"]:
        sampler, n = animation["samplers"][channel["sampler"]], channel["target"]["node"] - 1
        assert np.allclose(glb.values(sampler["input"])[:, 0], scene.motion.time_s[0])
        told = glb.values(sampler["output"])
        if channel["target"]["path"] == "translation":
            assert np.allclose(told, scene.motion.position[0, n])
        else:  # x, y, z, w
            assert np.allclose(told[:, [3, 0, 1, 2]], scene.motion.rotation[0, n], atol=1e-6)
    # The root turns z up into y up: the world's up (0, 0, 1) becomes (0, 1, 0).
    x, _, _, w = glb.document["nodes"][0]["rotation"]
    angle = torch.tensor(2 * np.arctan2(x, w)).float()
    turned = rotation_about(torch.tensor([1.0, 0, 0]), angle) @ torch.tensor([0.0, 0.0, 1.0])
    assert torch.allclose(turned, torch.tensor([0.0, 1.0, 0.0]), atol=1e-6)


def test_a_scene_s_glb_has_the_colors_of_its_textures(tmp_path: Path) -> None:
    build = Builder()
    build.add(Shape.BOX, (0, 0, 1), (0.5, 0.4, 0.7), plain((0.6, 0.1, 0.05)))
    stripes = texture(Pattern.GRADIENT, (0, 0, 0), (1, 1, 1), 4.0, sharpness=9.0)
    build.add(Shape.BALL, (2, 0, 1), (0.5, 0.5, 0.5), stripes)
    light = np.full(3, 0.4)
    write_scene_glb(tmp_path / "scene.glb", build.scene((0, 0, 1), light, light, light, light))
    glb = Glb(tmp_path / "scene.glb")
    box, ball = (mesh["primitives"][0]["attributes"] for mesh in glb.document["meshes"])
    assert np.allclose(glb.values(box["COLOR_0"]), (0.6, 0.1, 0.05), atol=1e-5)
    x, shade = glb.values(ball["POSITION"])[:, 0], glb.values(ball["COLOR_0"])[:, 0]
    assert shade[x > 0.1].min() > 0.6 and shade[x < -0.1].max() < 0.4


def test_a_clip_becomes_a_video_of_color_and_depth(tmp_path: Path) -> None:
    clip = render(moving(), flying(3))[0]
    write_clip_mp4(tmp_path / "clip.mp4", clip)
    video = read_mp4(tmp_path / "clip.mp4")
    assert video.shape == (3, 3, 40, 112)
    assert (video[..., :56] - clip.rgb).abs().mean() < 0.05
    gray = video[..., 56:].mean(1)
    near = clip.depth[:, 0] < clip.depth[:, 0].quantile(0.1)
    assert gray[near].mean() > gray[~near].mean() + 0.2
