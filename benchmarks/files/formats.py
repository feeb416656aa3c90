"""Each format: a random asset is written, and libraries have to find in the file what was written."""

import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.files.judges import Tally, Wrong, khronos, same
from benchmarks.files.random_assets import Assets
from geometry.camera.rigs import Rig, RigCamera
from geometry.conventions import gltf_from_world, linear_from_srgb
from geometry.io.assets.gltf import write_glb, write_moving_glb
from geometry.io.assets.obj import write_obj
from geometry.io.assets.ply import write_ply
from geometry.io.assets.splats import write_splats
from geometry.io.assets.usd import write_usd
from geometry.io.captures.colmap_rigs import write_colmap_rig
from geometry.io.captures.colmap_writer import colmap_model, write_colmap
from geometry.io.captures.nerfstudio import read_transforms, write_transforms
from geometry.io.exr import write_exr
from geometry.io.images import write_depth_png, write_png
from geometry.io.trajectories.pose_files import write_kitti, write_tum
from geometry.io.video import write_mp4
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import PointCloud


def _bytes(colors: torch.Tensor) -> torch.Tensor:
    return (colors * 255).round()


def ply(some: Assets, folder: Path, tally: Tally) -> None:
    """Points and meshes."""
    path, shape = folder / "a.ply", some.cloud() if some.whole(0, 1) else some.mesh()
    points = shape.points if isinstance(shape, PointCloud) else shape.vertices
    write_ply(path, shape)

    def by_plyfile() -> None:
        data = importlib.import_module("plyfile").PlyData.read(str(path))
        table = data["vertex"].data
        same("positions", np.stack([table[axis] for axis in "xyz"], -1), points, 0.0)
        if shape.colors is not None:
            same("colors", np.stack([table[c] for c in ("red", "green", "blue")], -1), _bytes(shape.colors), 0.0)
        if isinstance(shape, Mesh):
            same("faces", np.stack(data["face"].data["vertex_indices"]), shape.faces, 0.0)

    def by_trimesh() -> None:
        found = importlib.import_module("trimesh").load(path, process=False)
        same("positions", found.vertices, points)
        if isinstance(shape, Mesh):
            same("faces", found.faces, shape.faces, 0.0)

    def by_open3d() -> None:
        io = importlib.import_module("open3d").io
        read = io.read_triangle_mesh if isinstance(shape, Mesh) else io.read_point_cloud
        found = read(str(path))
        same("positions", found.vertices if isinstance(shape, Mesh) else found.points, points)
        if isinstance(shape, PointCloud) and shape.normals is not None:
            same("normals", found.normals, shape.normals)

    tally.check("plyfile", by_plyfile)
    tally.check("trimesh", by_trimesh)
    tally.check("Open3D", by_open3d)


def obj(some: Assets, folder: Path, tally: Tally) -> None:
    """Meshes, colored, textured or plain."""
    path, shape = folder / "a.obj", some.textured() if some.whole(0, 1) else some.mesh()
    mesh = shape if isinstance(shape, Mesh) else shape.mesh
    write_obj(path, shape)

    def by_trimesh() -> None:
        found = importlib.import_module("trimesh").load_mesh(path, process=False, maintain_order=True)
        same("corners", found.vertices[found.faces], gltf_from_world(mesh.vertices)[mesh.faces], 1e-5)
        if isinstance(shape, TexturedMesh):
            same("texture", np.asarray(found.visual.material.image), _bytes(shape.texture).movedim(0, -1), 0.0)

    def by_open3d() -> None:
        found = importlib.import_module("open3d").io.read_triangle_mesh(str(path))
        corners = np.asarray(found.vertices)[np.asarray(found.triangles)]
        same("corners", corners, gltf_from_world(mesh.vertices)[mesh.faces], 1e-5)

    tally.check("trimesh", by_trimesh)
    tally.check("Open3D", by_open3d)


def glb(some: Assets, folder: Path, tally: Tally) -> None:
    """Points, meshes, textured meshes and moving ones; gltf-validator has them all at once, in `khronos`."""
    path, kind = folder / f"{len(list(folder.glob('*.glb')))}.glb", some.whole(0, 3)
    if kind == 3:
        write_moving_glb(path, [some.moving()])
        return
    shape = (some.cloud, some.mesh, some.textured)[kind]()
    write_glb(path, shape, {"number": some.whole(0, 9)})

    def by_trimesh() -> None:
        found: Any = next(iter(importlib.import_module("trimesh").load_scene(path, process=False).geometry.values()))
        mesh = shape.mesh if isinstance(shape, TexturedMesh) else shape
        places = mesh.points if isinstance(mesh, PointCloud) else mesh.vertices
        same("positions", found.vertices, gltf_from_world(places))
        if isinstance(shape, PointCloud):  # trimesh keeps them as bytes, in linear light as the standard has them
            same("colors", np.asarray(found.colors)[:, :3], 255 * linear_from_srgb(shape.colors), 0.005)

    tally.check("trimesh", by_trimesh)


def splats(some: Assets, folder: Path, tally: Tally) -> None:
    """Gaussians in INRIA's PLY, in our frame so that the numbers are those given."""
    path, shape = folder / "s.ply", some.splats()
    write_splats(path, shape, "z_up")

    def by_plyfile() -> None:
        table = importlib.import_module("plyfile").PlyData.read(str(path))["vertex"].data
        same("positions", np.stack([table[axis] for axis in "xyz"], -1), shape.means, 0.0)
        same("scales", np.exp(np.stack([table[f"scale_{i}"] for i in range(3)], -1, dtype=np.float64)), shape.scales)
        same("turns", np.stack([table[f"rot_{i}"] for i in range(4)], -1), shape.quaternions_wxyz, 0.0)
        rest = 3 * (shape.harmonics.shape[1] - 1)
        if rest:
            found = np.stack([table[f"f_rest_{i}"] for i in range(rest)], -1)
            same("harmonics", found, shape.harmonics[:, 1:].transpose(1, 2).flatten(1), 0.0)

    tally.check("plyfile", by_plyfile)


def usd(some: Assets, folder: Path, tally: Tally) -> None:
    """A stage with some of everything, as text, binary or package."""
    path = folder / f"a{('.usda', '.usdc', '.usdz')[some.whole(0, 2)]}"
    mesh = some.mesh()
    bending = [Mesh(mesh.vertices * (1 + 0.1 * n), mesh.faces, mesh.colors) for n in range(some.whole(1, 3))]
    parts: dict[str, Any] = {"mesh": some.mesh(), "cloud": some.cloud(), "splats": some.splats(), "bending": bending}
    parts |= {"painted": some.textured(), "moving": some.moving(), "cameras": some.cameras(False)}
    kept = {name: part for name, part in parts.items() if some.whole(0, 2)} or {"mesh": mesh}

    def by_validators() -> None:
        pxr = {name: importlib.import_module(f"pxr.{name}") for name in ("Usd", "UsdValidation")}
        write_usd(path, kept)
        stage = pxr["Usd"].Stage.Open(str(path))
        every = pxr["UsdValidation"].ValidationRegistry().GetOrLoadAllValidators()
        found = [error.GetMessage() for error in pxr["UsdValidation"].ValidationContext(every).Validate(stage)]
        if found:
            raise Wrong(f"{path.suffix} of {', '.join(kept)}: {found[0]}")

    tally.check("UsdValidation", by_validators)


def colmap(some: Assets, folder: Path, tally: Tally) -> None:
    """Cameras with lenses and points, or rigs, as text or binary."""
    path, binary = folder / "model", bool(some.whole(0, 1))
    cameras = some.cameras(True)
    if rig := bool(some.whole(0, 1)):
        members = tuple(
            RigCamera(f"c{n}", cameras.world_from_camera[n], cameras.K[n], cameras.hw,
                      None if cameras.lens is None else cameras.lens[n]) for n in range(len(cameras))
        )  # fmt: skip
        along = some.poses(some.whole(1, 4))
        write_colmap_rig(path, Rig(members), along, binary=binary)
        cameras = Rig(members).cameras(along, torch.arange(len(along)).double())
    else:
        points = some.normal(some.whole(0, 20), 3)
        write_colmap(path, colmap_model(cameras, [f"{n}.png" for n in range(len(cameras))], points), binary)

    def by_colmap() -> None:
        model = importlib.import_module("pycolmap").Reconstruction(str(path))
        images = sorted(
            model.images.values(), key=lambda i: (i.name.split("/")[-1], i.camera_id) if rig else i.image_id
        )
        poses = [np.vstack([image.cam_from_world().inverse().matrix(), [0, 0, 0, 1]]) for image in images]
        same("poses", poses, cameras.world_from_camera, 1e-9)
        K = [model.cameras[image.camera_id].calibration_matrix() for image in images]
        same("intrinsics", K, cameras.K, 1e-12)

    tally.check("pycolmap", by_colmap)


def transforms(some: Assets, folder: Path, tally: Tally) -> None:
    """transforms.json, read back to the last bit."""
    path, cameras = folder / "transforms.json", some.cameras(True)
    write_transforms(path, cameras, [f"{n}.png" for n in range(len(cameras))])

    def by_ourselves() -> None:
        found = read_transforms(path, need_images=False).cameras
        same("poses", found.world_from_camera, cameras.world_from_camera, 0.0)
        same("intrinsics", found.K, cameras.K, 0.0)

    tally.check("read back exactly", by_ourselves)


def trajectories(some: Assets, folder: Path, tally: Tally) -> None:
    """TUM and KITTI paths."""
    poses = some.poses(some.whole(2, 20))
    write_tum(folder / "tum.txt", torch.arange(len(poses)).double(), poses)
    write_kitti(folder / "kitti.txt", poses)

    def by_evo() -> None:
        read = importlib.import_module("evo.tools.file_interface")
        same("TUM", np.stack(read.read_tum_trajectory_file(str(folder / "tum.txt")).poses_se3), poses, 1e-9)
        same("KITTI", np.stack(read.read_kitti_poses_file(str(folder / "kitti.txt")).poses_se3), poses, 1e-12)

    tally.check("evo", by_evo)


def images(some: Assets, folder: Path, tally: Tally) -> None:
    """PNG, 16-bit depth, EXR and MP4."""
    hw = some.whole(8, 40), some.whole(8, 40)
    rgb, depth = some.uniform(3, *hw), 60 * some.uniform(1, *hw)
    write_png(folder / "a.png", rgb)
    write_depth_png(folder / "d.png", depth, 0.001)
    write_mp4(folder / "a.mp4", rgb.expand(3, -1, -1, -1), 25.0)

    def by_pillow() -> None:
        image = importlib.import_module("PIL.Image")
        same("colors", np.asarray(image.open(folder / "a.png")), _bytes(rgb).movedim(0, -1), 0.0)
        same("depth", np.asarray(image.open(folder / "d.png")), (depth.double() / 0.001).round()[0], 2e-5)

    def by_pyav() -> None:
        with importlib.import_module("av").open(str(folder / "a.mp4")) as video:
            frames = [(frame.height, frame.width, float(frame.time)) for frame in video.decode(video=0)]
        even = tuple(side + side % 2 for side in hw)
        if frames != [(*even, n / 25) for n in range(3)]:
            raise Wrong(f"frames {frames}; expected 3 of {even} at 25 a second")

    def of_exr() -> None:
        importlib.import_module("OpenEXR")
        write_exr(folder / "a.exr", rgb)
        with importlib.import_module("av").open(str(folder / "a.exr")) as video:
            planes = next(video.decode(video=0)).planes
        found = [np.frombuffer(bytes(p), np.float32).reshape(hw[0], -1)[:, : hw[1]] for p in planes]
        same("light", np.stack([found[2], found[0], found[1]]), linear_from_srgb(rgb))

    tally.check("Pillow", by_pillow)
    tally.check("PyAV", by_pyav)
    tally.check("EXR by PyAV", of_exr)


FORMATS: dict[str, Callable[[Assets, Path, Tally], None]] = {
    "PLY": ply, "OBJ": obj, "GLB": glb, "splats": splats, "USD": usd, "COLMAP": colmap, "transforms.json": transforms,
    "trajectories": trajectories, "images and videos": images,
}  # fmt: skip


def check(name: str, count: int, seed: int) -> Tally:
    """`count` random assets of a format, each in a folder of its own."""
    some, tally = Assets(torch.Generator().manual_seed(seed)), Tally()
    with tempfile.TemporaryDirectory() as root:
        for n in range(count):
            folder = Path(root) / (str(n) if name != "GLB" else "all")
            folder.mkdir(exist_ok=True)
            FORMATS[name](some, folder, tally)
        if name == "GLB":
            try:
                reports = khronos(sorted(Path(root).rglob("*.glb")))
            except ImportError:
                reports = []
            tally.checked["gltf-validator"] = len(reports)
            bad = [report for report in reports if report["numErrors"] or report["numWarnings"]]
            tally.wrong.extend(f"gltf-validator: {report['messages'][0]['message']}" for report in bad)
    return tally
