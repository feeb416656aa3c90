"""Files with some bytes cut, inserted or changed: every reader gives a value or one line, never another error."""

import random
import shutil
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from geometry.camera.cameras import Cameras
from geometry.camera.rigs import Rig, RigCamera
from geometry.errors import InputError
from geometry.io.assets.gltf import write_glb
from geometry.io.assets.gltf_reader import read_glb
from geometry.io.assets.obj import read_obj, write_obj
from geometry.io.assets.ply import read_ply, write_ply
from geometry.io.captures.colmap import ColmapModel, read_colmap
from geometry.io.captures.colmap_rigs import ColmapRig, read_colmap_rigs, write_colmap_rig
from geometry.io.captures.ddad import read_ddad
from geometry.io.captures.nerfstudio import read_transforms, write_transforms
from geometry.io.captures.nuscenes import read_nuscenes
from geometry.io.captures.posed import PosedImages
from geometry.io.captures.realestate10k import read_realestate10k
from geometry.io.images import image_hw, read_depth_png, read_exif_fov, read_image, write_depth_png, write_png
from geometry.io.video import read_mp4, write_mp4
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.trajectory.paths import orbit
from tests.geometry.io.captures.made import HW, write_colmap, write_dgp, write_nuscenes, write_realestate10k


def write_one(path: Path) -> None:
    """A good file of the kind its name says."""
    rgb = torch.rand(3, 24, 24)
    mesh = Mesh(torch.rand(5, 3), torch.randint(0, 5, (6, 3)), torch.rand(5, 3))
    match path.name:
        case "depth.png":
            write_depth_png(path, 3 * torch.rand(1, 24, 24), 0.001)
        case "a.mp4":
            write_mp4(path, rgb.repeat(4, 1, 1, 1), 25.0)
        case "a.ply":
            write_ply(path, mesh)
        case "a.glb":
            write_glb(path, mesh)
        case "a.obj":
            write_obj(path, mesh)
        case "texture.glb":
            write_glb(path, TexturedMesh(mesh, torch.rand(5, 2), rgb))
        case "texture.obj" | "texture.mtl":
            write_obj(path.with_suffix(".obj"), TexturedMesh(mesh, torch.rand(5, 2), rgb))
        case "a.json":
            write_png(path.parent / "a.png", rgb)
            write_transforms(path, Cameras.from_fov(orbit(torch.zeros(3), 2.0, 3.0, 1), 40.0, (24, 24)), ["a.png"])
        case "cameras.bin" | "images.bin" | "points3D.bin":
            write_colmap(path.parent, binary=True)
        case "cameras.txt" | "images.txt" | "points3D.txt":
            write_colmap(path.parent, binary=False)
        case "rigs.bin" | "frames.bin" | "rigs.txt" | "frames.txt":
            model = path.parent
            K = torch.tensor([[20.0, 0, 12], [0, 20, 12], [0, 0, 1]]).double()
            rig = Rig(tuple(RigCamera(name, torch.eye(4).double(), K, (24, 24)) for name in "ab"))
            write_colmap_rig(model, rig, torch.eye(4).double().repeat(3, 1, 1), binary=path.suffix == ".bin")
        case "clip.txt":
            write_realestate10k(path)
        case "scene_0123.json":
            write_dgp(path.parent)
        case "sample_data.json" | "calibrated_sensor.json":
            write_nuscenes(path.parents[1])
        case _:
            Image.fromarray((rgb.movedim(0, -1) * 255).byte().numpy()).save(path)


def corrupted(data: bytes, chance: random.Random) -> bytes:
    """Cut short, some bytes inserted, or up to 20 changed, most of them near the start."""
    harm, result = chance.random(), bytearray(data)
    if harm < 0.2:
        return data[: chance.randrange(len(data))]
    for _ in range(chance.choice([1, 2, 20])):
        place = chance.randrange(min(len(data), 400) if chance.random() < 0.6 else len(data))
        value = chance.choice([0, 255, ord("-"), ord("9"), chance.randrange(256)])
        result[place : place + int(harm >= 0.4)] = bytes([value])
    return bytes(result)


def read_model(path: Path) -> ColmapModel:
    return read_colmap(path.parent, path.parent / "images")


def read_rigs(path: Path) -> tuple[ColmapRig, ...]:
    return read_colmap_rigs(path.parent)


def read_drive(path: Path) -> PosedImages:
    return read_nuscenes(path.parents[1], "scene-0001")


READERS = {
    "a.png": (read_image, image_hw, read_exif_fov),
    "a.jpg": (read_image, image_hw, read_exif_fov),
    "a.webp": (read_image,),
    "a.tiff": (read_image,),
    "a.gif": (read_image,),
    "depth.png": (lambda path: read_depth_png(path, 0.001),),
    "a.mp4": (read_mp4,),
    "a.ply": (read_ply,),
    "a.glb": (read_glb,),
    "texture.glb": (read_glb,),
    "a.obj": (read_obj,),
    "texture.obj": (read_obj,),
    "texture.mtl": (lambda path: read_obj(path.with_suffix(".obj")),),
    "a.json": (read_transforms,),
    **{f"{part}.{kind}": (read_model,) for part in ("cameras", "images", "points3D") for kind in ("bin", "txt")},
    **{f"{part}.{kind}": (read_rigs,) for part in ("rigs", "frames") for kind in ("bin", "txt")},
    "clip.txt": (lambda path: read_realestate10k(path, hw=HW),),
    "scene_0123.json": (read_ddad,),
    "v1.0-mini/sample_data.json": (read_drive,),
    "v1.0-mini/calibrated_sensor.json": (read_drive,),
}


def refusals(folder: Path, name: str, count: int, seconds: float) -> int:
    """How many of `count` broken files were refused; each has to be judged in time."""
    path, chance, refused = folder / name, random.Random(0), 0
    write_one(path)
    good = path.read_bytes()
    for _ in range(count):
        path.write_bytes(corrupted(good, chance))
        for read in READERS[name]:
            began = time.perf_counter()
            try:
                read(path)
            except InputError as error:
                assert "\n" not in str(error) and str(folder) in str(error)
                refused += 1
            assert time.perf_counter() - began < seconds
    return refused


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # it says what it skips in a broken TIFF
@pytest.mark.parametrize("name", READERS)
def test_a_corrupt_file_raises_nothing_but_one_line(tmp_path, name) -> None:
    assert refusals(tmp_path, name, 60, 60.0) > 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", READERS)
def test_a_thousand_corrupt_files_are_judged_in_bounded_time_and_memory(tmp_path, name) -> None:
    resource = pytest.importorskip("resource")
    write_one(tmp_path / name)
    for read in READERS[name]:
        read(tmp_path / name)  # libraries are loaded before memory is bounded
    limits = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**30, limits[1]))
    try:
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        assert refusals(tmp_path, name, 1000, 5.0) > 100
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
