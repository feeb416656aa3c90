"""Small captures in the formats of others, written with one known world: what their readers are tested on."""

import json
import struct
from pathlib import Path

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from geometry.io.images import write_png
from geometry.rotation.quaternions import quaternion_wxyz_from_matrix
from geometry.rotation.transforms import look_at

HW = (20, 24)


def world_cameras(count: int) -> Cameras:
    """Cameras on an arc about the origin, pinhole, off-center, unequal focal lengths."""
    angle = torch.linspace(0, 1, count, dtype=torch.float64)
    centers = torch.stack([3 * angle.cos(), 3 * angle.sin(), 1 + angle], -1)
    poses = look_at(centers, torch.zeros(count, 3, dtype=torch.float64))
    K = torch.tensor([[21.0, 0, 11.5], [0, 22.0, 9.25], [0, 0, 1]], dtype=torch.float64)
    return Cameras(poses, K.expand(count, 3, 3), HW)


def write_images(folder: Path, names: list[str]) -> None:
    for name in names:
        write_png(folder / name, torch.rand(3, *HW))


def wxyz(rotation: torch.Tensor) -> list[float]:
    return quaternion_wxyz_from_matrix(rotation).tolist()


def write_colmap(folder: Path, binary: bool, count: int = 3) -> tuple[Cameras, torch.Tensor]:
    """A model in `folder`, images in `folder/images`: RADIAL lens, 5 points, all seen by the first camera; the last
    image has no features. Returns the cameras and the points."""
    cameras, points = world_cameras(count), torch.rand(5, 3, dtype=torch.float64)
    names = [f"my image {i}.png" for i in range(count)]
    write_images(folder / "images", names)
    lens = [21.0, 11.5, 9.25, 0.1, -0.02]
    poses = cameras.camera_from_world
    features = [[(1.5 + i, 2.5, i + 1) for i in range(5)] + [(9.0, 9.0, -1)] if n == 0 else [] for n in range(count)]
    if binary:
        data = struct.pack("<QiiQQ5d", 1, 7, 3, HW[1], HW[0], *lens)
        (folder / "cameras.bin").write_bytes(data)
        data = struct.pack("<Q", count)
        for n, pose in enumerate(poses):
            data += struct.pack("<i7di", n + 1, *wxyz(pose[:3, :3]), *pose[:3, 3].tolist(), 7)
            data += names[n].encode() + b"\0" + struct.pack("<Q", len(features[n]))
            data += b"".join(struct.pack("<ddq", *feature) for feature in features[n])
        (folder / "images.bin").write_bytes(data)
        data = struct.pack("<Q", 5)
        for n, point in enumerate(points.tolist()):
            data += struct.pack("<Q3d3BdQ2i", n + 1, *point, 10, 20, 30 + n, 0.5, 1, 1, n)
        (folder / "points3D.bin").write_bytes(data)
    else:
        (folder / "cameras.txt").write_text(f"# one\n7 RADIAL {HW[1]} {HW[0]} {' '.join(map(repr, lens))}\n")
        lines = ["# two lines an image"]
        for n, pose in enumerate(poses):
            numbers = [*wxyz(pose[:3, :3]), *pose[:3, 3].tolist()]
            lines.append(f"{n + 1} {' '.join(map(repr, numbers))} 7 {names[n]}")
            lines.append(" ".join(f"{u} {v} {p}" for u, v, p in features[n]))
        (folder / "images.txt").write_text("\n".join(lines) + "\n")
        rows = [f"{n + 1} {' '.join(map(repr, p))} 10 20 {30 + n} 0.5 1 {n}" for n, p in enumerate(points.tolist())]
        (folder / "points3D.txt").write_text("\n".join(rows) + "\n")
    return cameras, points


def write_realestate10k(path: Path, count: int = 3) -> Cameras:
    """A text file with cameras 0.2 s apart."""
    cameras = world_cameras(count)
    lines = ["https://www.example.com/watch?v=0"]
    for n, pose in enumerate(cameras.camera_from_world):
        matrix = " ".join(f"{v:.9f}" for v in pose[:3].flatten().tolist())
        lens = (21 / HW[1], 22 / HW[0], 11.5 / HW[1], 9.25 / HW[0])
        lines.append(f"{200000 * n} {' '.join(f'{v:.9f}' for v in lens)} 0.0 0.0 {matrix}")
    path.write_text("\n".join(lines) + "\n")
    return cameras


def write_nuscenes(root: Path) -> tuple[Cameras, torch.Tensor]:
    """A dataset with one scene of two key frames, two cameras and a LiDAR at each, the car moving between sensors.

    Returns the cameras by time and view, and LiDAR points in the world, which are the same at both times.
    """
    cameras, points = world_cameras(4), torch.rand(6, 3, dtype=torch.float64)
    ego = torch.eye(4, dtype=torch.float64)
    ego[0, 3] = 0.5
    tables: dict[str, list[dict]] = {
        "scene": [{"token": "s", "name": "scene-0001", "description": "A small drive"}],
        "sample": [{"token": f"f{t}", "scene_token": "s", "timestamp": 500000 * (1 + t)} for t in range(2)],
        "sensor": [{"token": c, "channel": c} for c in ("CAM_FRONT", "CAM_BACK", "LIDAR_TOP")],
        "sample_data": [], "ego_pose": [], "calibrated_sensor": [],
    }  # fmt: skip
    K = cameras.K[0].clone()
    K[:2, 2] -= 0.5

    def add(name: str, channel: str, time: int, world_from_sensor: torch.Tensor, file: str, key: bool = True) -> None:
        moved = ego.clone()
        moved[1, 3] = len(tables["ego_pose"])  # no two sensors share a vehicle pose
        mounted = torch.linalg.inv(moved) @ world_from_sensor
        for table, pose in (("ego_pose", moved), ("calibrated_sensor", mounted)):
            row = {"token": f"{table}{name}", "rotation": wxyz(pose[:3, :3]), "translation": pose[:3, 3].tolist()}
            tables[table].append(row | {"sensor_token": channel, "camera_intrinsic": K.tolist()})
        tables["sample_data"].append(
            {"token": name, "sample_token": f"f{time}", "filename": file, "height": HW[0], "width": HW[1],
             "timestamp": 500000 * (1 + time), "is_key_frame": key, "ego_pose_token": f"ego_pose{name}",
             "calibrated_sensor_token": f"calibrated_sensor{name}"}
        )  # fmt: skip

    for time in range(2):
        for view, channel in enumerate(("CAM_FRONT", "CAM_BACK")):
            file = f"samples/{channel}/{time}.png"
            write_images(root, [file])
            add(f"{time}{view}", channel, time, cameras.world_from_camera[2 * time + view], file)
        lidar = torch.eye(4, dtype=torch.float64)
        lidar[2, 3] = 2.0
        sweep = np.zeros((6, 5), np.float32)
        sweep[:, :3] = (points - lidar[:3, 3]).numpy()
        (root / "samples/LIDAR_TOP").mkdir(parents=True, exist_ok=True)
        sweep.tofile(root / f"samples/LIDAR_TOP/{time}.pcd.bin")
        add(f"l{time}", "LIDAR_TOP", time, lidar, f"samples/LIDAR_TOP/{time}.pcd.bin")
    add("between", "CAM_FRONT", 1, cameras.world_from_camera[0], "sweeps/none.png", key=False)
    (root / "v1.0-mini").mkdir()
    for name, rows in tables.items():
        (root / f"v1.0-mini/{name}.json").write_text(json.dumps(rows))
    return cameras, points


def write_dgp(root: Path) -> tuple[Path, Cameras, torch.Tensor]:
    """A scene in the DGP format: one sample, two cameras and a LiDAR. Returns its file, cameras and points."""
    cameras, points = world_cameras(2), torch.rand(6, 3, dtype=torch.float64)
    lidar = torch.eye(4, dtype=torch.float64)
    lidar[2, 3] = 2.0

    def pose(matrix: torch.Tensor) -> dict:
        q, t = wxyz(matrix[:3, :3]), matrix[:3, 3].tolist()
        keys = dict(zip(("qw", "qx", "qy", "qz"), q))
        return {"rotation": {k: v for k, v in keys.items() if v}, "translation": dict(zip("xyz", t))}

    data = []
    for view in range(2):
        file = f"rgb/CAMERA_0{view + 1}/0.png"
        write_images(root, [file])
        image = {"filename": file, "height": HW[0], "width": HW[1], "pose": pose(cameras.world_from_camera[view])}
        stamp = {"name": f"CAMERA_0{view + 1}", "timestamp": "2019-01-01T00:01:02.500000Z"}
        data.append({"key": f"c{view}", "id": stamp, "datum": {"image": image}})
    (root / "point_cloud").mkdir()
    np.savez(root / "point_cloud/0.npz", data=np.concatenate([(points - lidar[:3, 3]).numpy(), np.ones((6, 1))], 1))
    cloud = {"filename": "point_cloud/0.npz", "pose": pose(lidar), "point_format": ["X", "Y", "Z", "INTENSITY"]}
    data.append({"key": "l", "id": {"name": "LIDAR"}, "datum": {"point_cloud": cloud}})
    lens = {"fx": 21.0, "fy": 22.0, "cx": 11.0, "cy": 8.75, "skew": 0.0}
    (root / "calibration").mkdir()
    calibration = {"names": ["CAMERA_01", "CAMERA_02", "LIDAR"], "intrinsics": [lens, lens, dict.fromkeys(lens, 0.0)]}
    (root / "calibration/abc.json").write_text(json.dumps(calibration))
    sample = {"datum_keys": ["l", "c1", "c0"], "calibration_key": "abc"}
    path = root / "scene_0123.json"
    path.write_text(json.dumps({"samples": [sample], "data": data}))
    return path, cameras, points
