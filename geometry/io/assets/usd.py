"""USD and USDZ: meshes, points, splats and cameras on one stage, z up, metres (the `[usd]` extra).

Colors are written in linear light, as USD's displayColor is. Files are written, not read: a stage may refer to any
other file, and what it holds is its own program's to say.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.checks import check_unskewed
from geometry.conventions import linear_from_srgb, opencv_from_opengl
from geometry.errors import InputError
from geometry.gaussians.harmonics import degree_of
from geometry.gaussians.splats import Splats
from geometry.io.assets.gltf import MovingMesh
from geometry.io.assets.precision import check_float32, float32_origin
from geometry.io.files import replacing, write_file
from geometry.io.images import encode_png
from geometry.mesh.meshes import Mesh, TexturedMesh, vertex_normals
from geometry.optional import from_extra, load_optional
from geometry.points.pointclouds import PointCloud
from geometry.shapes import Float
from geometry.similarity import Similarity

SUFFIXES = (".usda", ".usdc", ".usd", ".usdz")
_APERTURE = 36.0  # width of the sensor, in tenths of a unit, as USD gives its cameras

Part = Mesh | Sequence[Mesh] | MovingMesh | TexturedMesh | PointCloud | Splats | Cameras


def write_usd(
    path: Path | str,
    parts: Mapping[str, Part] | Part,
    fps: float = 24.0,
    point_width_m: float = 0.01,
    stored_from_user: Similarity | None = None,
) -> None:
    """Write parts as /World/<name> of a stage.

    Positions are float32; a part that float32 does not hold where it is gets a translation in doubles.

    Args:
        path: .usda is text, .usdc and .usd binary, .usdz a package of the binary. Textures are PNG files beside the
            stage, named STAGE_PART.png, or in the package.
        parts: by name, or one alone, named "world"; a list of meshes with the same faces is one that changes its shape
            from frame to frame, cameras of one `view` at several times are one moving camera, others one each.
        fps: frames per second: time codes are seconds times this.
        point_width_m: diameter at which points are drawn.
        stored_from_user: the world to store parts in (but for moving meshes), kept in the layer's customLayerData.

    Raises:
        InputError: another suffix, names USD does not allow, parts that are empty or hold NaN or Inf, cameras with a
            lens or skew, or usd-core is missing.
    """
    path = Path(path)
    parts = parts if isinstance(parts, Mapping) else {"world": parts}
    pxr = _Pxr()
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: suffix {path.suffix!r}; expected one of {', '.join(SUFFIXES)}")
    if not (fps > 0 and parts):
        raise InputError(f"{path}: {len(parts)} parts at {fps} frames a second; expected some, and more than 0")
    stage = pxr.Usd.Stage.CreateInMemory()
    world = pxr.UsdGeom.Xform.Define(stage, "/World")
    stage.SetDefaultPrim(world.GetPrim())
    pxr.UsdGeom.SetStageUpAxis(stage, pxr.UsdGeom.Tokens.z)
    pxr.UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(fps)
    stage.SetMetadata("comment", "generator worldgen; right-handed, z up, metres")
    if stored_from_user is not None:
        stage.GetRootLayer().customLayerData = {"stored_from_user": json.dumps(stored_from_user.to_json())}
        parts = {name: _stored(stored_from_user, part, f"{path}: {name}") for name, part in parts.items()}
    codes: list[float] = []
    textures = {f"{path.stem}_{name}.png": encode_png(part.texture) for name, part in parts.items()
                if isinstance(part, TexturedMesh)}  # fmt: skip
    for name, part in parts.items():
        if not pxr.Sdf.Path.IsValidIdentifier(name):
            raise InputError(f"{path}: part {name[:60]!r}; expected letters, digits and _, and no digit first")
        codes += _define(pxr, stage, f"/World/{name}", part, fps, point_width_m, f"{path}: {name}")
        if isinstance(part, TexturedMesh):
            _paint(pxr, stage, f"/World/{name}", part, f"./{path.stem}_{name}.png", f"{path}: {name}")
    if codes:
        stage.SetStartTimeCode(min(codes))
        stage.SetEndTimeCode(max(codes))
    if path.suffix != ".usdz":
        for name, data in textures.items():
            write_file(path.with_name(name), data)
    with replacing(path) as temporary:
        if not _export(pxr, stage, temporary, textures):
            raise InputError(f"{path}: cannot be written; expected a writable place")


def _stored(stored_from_user: Similarity, part: Part, where: str) -> Part:
    if isinstance(part, MovingMesh):
        raise InputError(f"{where}: a moving mesh in another world; expected parts whose places are in their points")
    if isinstance(part, Sequence):
        return [stored_from_user.apply(mesh) for mesh in part]
    return stored_from_user.apply(part)


def _export(pxr: "_Pxr", stage: Any, path: Path, textures: dict[str, bytes]) -> bool:
    if path.suffix != ".usdz":
        return stage.GetRootLayer().Export(str(path))
    with tempfile.TemporaryDirectory() as folder:
        for name, data in textures.items():
            (Path(folder) / name).write_bytes(data)
        binary = Path(folder) / f"{path.stem.strip('.')}.usdc"
        return stage.GetRootLayer().Export(str(binary)) and pxr.UsdUtils.CreateNewUsdzPackage(str(binary), str(path))


def _define(pxr: "_Pxr", stage: Any, at: str, part: Part, fps: float, width_m: float, where: str) -> list[float]:
    """One part on the stage; the time codes it changes at.

    What float32 does not hold where it is, is stored about its middle and put back by a translation in doubles.
    """
    origin = float32_origin(_places(part), where) if not isinstance(part, MovingMesh | Cameras) else None
    if origin is not None and bool(origin.any()):
        moved = Similarity(origin.new_ones(()), torch.eye(3).double(), -origin)
        codes = _define(pxr, stage, at, _stored(moved, part, where), fps, width_m, where)
        prim = pxr.UsdGeom.Xformable(stage.GetPrimAtPath(at))
        prim.AddTranslateOp(pxr.UsdGeom.XformOp.PrecisionDouble).Set(pxr.Gf.Vec3d(*origin.tolist()))
        return codes
    match part:
        case Mesh():
            _mesh(pxr, stage, at, [part], where)
            return []
        case MovingMesh():
            check_float32(part.mesh.vertices, f"{where} in its own frame")
            _mesh(pxr, stage, at, [part.mesh], where)
            return _move(pxr, stage, at, part, fps, where)
        case TexturedMesh():
            _mesh(pxr, stage, at, [Mesh(part.mesh.vertices, part.mesh.faces)], where)
            return []
        case PointCloud():
            _points(pxr, stage, at, part, width_m, where)
            return []
        case Splats():
            _splats(pxr, stage, at, part, where)
            return []
        case Cameras():
            return _cameras(pxr, stage, at, part, fps, where)
        case Sequence() if all(isinstance(mesh, Mesh) for mesh in part):
            _mesh(pxr, stage, at, part, where)
            return [float(n) for n in range(len(part))]
        case _:
            kinds = "PointCloud, Mesh, list of them, TexturedMesh, MovingMesh, Splats or Cameras"
            raise InputError(f"{where}: a {type(part).__name__}; expected a {kinds}")


def _places(part: Part) -> torch.Tensor:
    """Where a part that stands still is in the world."""
    match part:
        case PointCloud():
            return part.points
        case Splats():
            return part.means
        case Mesh():
            return part.vertices
        case TexturedMesh():
            return part.mesh.vertices
        case Sequence() if part and all(isinstance(mesh, Mesh) for mesh in part):
            return torch.cat([mesh.vertices for mesh in part])
        case _:
            return torch.zeros(0, 3)


def _mesh(pxr: "_Pxr", stage: Any, at: str, meshes: Sequence[Mesh], where: str) -> None:
    if not meshes or not len(meshes[0].faces):
        raise InputError(f"{where}: no triangles; expected at least one")
    if any(not torch.equal(mesh.faces, meshes[0].faces) for mesh in meshes):
        raise InputError(f"{where}: meshes whose faces differ; expected the same faces in all frames")
    prim = pxr.UsdGeom.Mesh.Define(stage, at)
    prim.CreateSubdivisionSchemeAttr(pxr.UsdGeom.Tokens.none)
    prim.CreateDoubleSidedAttr(True)
    faces = meshes[0].faces.cpu().numpy()
    prim.CreateFaceVertexIndicesAttr(pxr.Vt.IntArray.FromNumpy(faces.astype(np.int32).reshape(-1)))
    prim.CreateFaceVertexCountsAttr(pxr.Vt.IntArray.FromNumpy(np.full(len(faces), 3, np.int32)))
    prim.SetNormalsInterpolation(pxr.UsdGeom.Tokens.vertex)
    points, normals, extent = prim.CreatePointsAttr(), prim.CreateNormalsAttr(), prim.CreateExtentAttr()
    for n, mesh in enumerate(meshes):
        code = pxr.Usd.TimeCode.Default() if len(meshes) == 1 else pxr.Usd.TimeCode(n)
        values = pxr.vectors(mesh.vertices, where)
        points.Set(values, code)
        normals.Set(pxr.vectors(vertex_normals(mesh), where), code)
        extent.Set(prim.ComputeExtent(values), code)
    if meshes[0].colors is not None:
        _color(pxr, prim, meshes[0].colors, where)


def _paint(pxr: "_Pxr", stage: Any, at: str, textured: TexturedMesh, image: str, where: str) -> None:
    """A material with the texture; its positions have their origin at the lower left corner here."""
    types, shade = pxr.Sdf.ValueTypeNames, pxr.UsdShade
    prim = stage.GetPrimAtPath(at)
    upright = torch.stack([textured.uv[:, 0], 1 - textured.uv[:, 1]], -1).detach().float().cpu().contiguous()
    places = pxr.UsdGeom.PrimvarsAPI(prim).CreatePrimvar("st", types.TexCoord2fArray, pxr.UsdGeom.Tokens.vertex)
    places.Set(pxr.Vt.Vec2fArray.FromNumpy(upright.numpy()))
    material = shade.Material.Define(stage, f"{at}/material")
    shaders = {}
    for name, kind in (("surface", "UsdPreviewSurface"), ("st", "UsdPrimvarReader_float2"), ("image", "UsdUVTexture")):
        shaders[name] = shade.Shader.Define(stage, f"{at}/material/{name}")
        shaders[name].CreateIdAttr(kind)
    shaders["st"].CreateInput("varname", types.String).Set("st")
    for name, kind, value in (
        ("file", types.Asset, image), ("sourceColorSpace", types.Token, "sRGB"), ("wrapS", types.Token, "clamp"),
        ("wrapT", types.Token, "clamp"),
    ):  # fmt: skip
        shaders["image"].CreateInput(name, kind).Set(value)
    found = shaders["st"].CreateOutput("result", types.Float2)
    shaders["image"].CreateInput("st", types.Float2).ConnectToSource(found)
    color = shaders["image"].CreateOutput("rgb", types.Float3)
    shaders["surface"].CreateInput("diffuseColor", types.Color3f).ConnectToSource(color)
    shaders["surface"].CreateInput("roughness", types.Float).Set(1.0)
    surface = shaders["surface"].CreateOutput("surface", types.Token)
    material.CreateSurfaceOutput().ConnectToSource(surface)
    shade.MaterialBindingAPI.Apply(prim).Bind(material)


def _move(pxr: "_Pxr", stage: Any, at: str, moving: MovingMesh, fps: float, where: str) -> list[float]:
    prim = pxr.UsdGeom.Xformable(stage.GetPrimAtPath(at))
    place = moving.position.detach().double().cpu()
    turn = torch.nn.functional.normalize(moving.rotation.detach().double().cpu(), dim=-1)
    if not bool(place.isfinite().all() & turn.isfinite().all() & moving.time_s.isfinite().all()):
        raise InputError(f"{where}: poses with NaN or Inf; expected finite numbers")
    translate = prim.AddTranslateOp(pxr.UsdGeom.XformOp.PrecisionDouble)
    orient = prim.AddOrientOp(pxr.UsdGeom.XformOp.PrecisionDouble)
    codes = [fps * time for time in moving.time_s.double().tolist()]
    for code, shift, quaternion in zip(codes, place.tolist(), turn.tolist()):
        when = pxr.Usd.TimeCode(code) if len(codes) > 1 else pxr.Usd.TimeCode.Default()
        translate.Set(pxr.Gf.Vec3d(*shift), when)
        orient.Set(pxr.Gf.Quatd(*quaternion), when)
    return codes if len(codes) > 1 else []


def _points(pxr: "_Pxr", stage: Any, at: str, cloud: PointCloud, width_m: float, where: str) -> None:
    if not len(cloud) or not width_m > 0:
        raise InputError(f"{where}: {len(cloud)} points of {width_m} m; expected at least one, wider than 0")
    prim = pxr.UsdGeom.Points.Define(stage, at)
    values = pxr.vectors(cloud.points, where)
    widths = pxr.Vt.FloatArray.FromNumpy(np.full(len(cloud), width_m, np.float32))
    prim.CreatePointsAttr(values)
    prim.CreateWidthsAttr(widths)
    prim.CreateExtentAttr(prim.ComputeExtent(values, widths))
    _color(pxr, prim, cloud.colors, where)


def _color(pxr: "_Pxr", prim: Any, colors: Float[torch.Tensor, "n 3"], where: str) -> None:
    light = linear_from_srgb(colors.detach().float().nan_to_num().clamp(0, 1))
    prim.CreateDisplayColorPrimvar(pxr.UsdGeom.Tokens.vertex).Set(pxr.vectors(light, where))


def _splats(pxr: "_Pxr", stage: Any, at: str, splats: Splats, where: str) -> None:
    if not hasattr(pxr.UsdVol, "ParticleField3DGaussianSplat"):
        raise InputError(f"{where}: this usd-core knows no Gaussian splats; expected pip install 'usd-core>=26.3'")
    if not len(splats):
        raise InputError(f"{where}: no splats; expected at least one")
    prim = pxr.UsdVol.ParticleField3DGaussianSplat.Define(stage, at)
    quaternions = torch.nn.functional.normalize(splats.quaternions_wxyz.detach().float().cpu(), dim=-1)
    if not bool(quaternions.isfinite().all() & splats.opacities.isfinite().all()):
        raise InputError(f"{where}: NaN or Inf; expected finite numbers")
    prim.CreatePositionsAttr(pxr.vectors(splats.means, where))
    prim.CreateOrientationsAttr([pxr.Gf.Quatf(*wxyz) for wxyz in quaternions.tolist()])
    prim.CreateScalesAttr(pxr.vectors(splats.scales, where))
    prim.CreateOpacitiesAttr(pxr.Vt.FloatArray.FromNumpy(splats.opacities.detach().float().cpu().numpy()))
    prim.CreateRadianceSphericalHarmonicsDegreeAttr(degree_of(splats.harmonics.shape[1]))
    prim.CreateRadianceSphericalHarmonicsCoefficientsAttr(pxr.vectors(splats.harmonics.flatten(0, 1), where))
    reach = 3 * splats.scales.detach().amax(-1, keepdim=True)
    corners = torch.stack([(splats.means - reach).amin(0), (splats.means + reach).amax(0)])
    prim.CreateExtentAttr(pxr.vectors(corners, where))


def _cameras(pxr: "_Pxr", stage: Any, at: str, cameras: Cameras, fps: float, where: str) -> list[float]:
    cameras.check_pinhole(where)
    check_unskewed(where, cameras)
    flat = cameras.reshape(cameras.shape.numel()).to(torch.float64).to("cpu")
    if not len(flat) or not bool(flat.world_from_camera.isfinite().all() & flat.K.isfinite().all()):
        raise InputError(f"{where}: no cameras, or ones with NaN or Inf; expected finite numbers")
    of_view = {int(view): (flat.view == view).nonzero()[:, 0].tolist() for view in flat.view.unique()}
    codes: list[float] = []
    if any(flat.time_s[rows].unique().numel() < len(rows) for rows in of_view.values()):
        of_view = {n: [n] for n in range(len(flat))}  # no times to tell them apart
    if len(of_view) > 1:
        pxr.UsdGeom.Xform.Define(stage, at)
    for n, rows in enumerate(of_view.values()):
        prim = pxr.UsdGeom.Camera.Define(stage, f"{at}/camera_{n:04d}" if len(of_view) > 1 else at)
        transform = prim.AddTransformOp()
        for row in rows:
            code = fps * float(flat.time_s[row])
            when = pxr.Usd.TimeCode(code) if len(rows) > 1 else pxr.Usd.TimeCode.Default()
            pose = opencv_from_opengl(flat.world_from_camera[row])  # its own inverse
            transform.Set(pxr.Gf.Matrix4d(pose.T.tolist()), when)  # USD's vectors are rows
            _intrinsics(prim, flat.K[row].tolist(), flat.hw, when)
            codes += [code] if len(rows) > 1 else []
    return codes


def _intrinsics(prim: Any, K: list[list[float]], hw: tuple[int, int], when: Any) -> None:
    """Focal length, size and offset of the sensor that see what K sees."""
    (fx, _, cx), (_, fy, cy), _ = K
    focal = fx / hw[1] * _APERTURE
    prim.CreateFocalLengthAttr().Set(focal, when)
    prim.CreateHorizontalApertureAttr().Set(_APERTURE, when)
    prim.CreateVerticalApertureAttr().Set(hw[0] / fy * focal, when)
    prim.CreateHorizontalApertureOffsetAttr().Set((hw[1] / 2 - cx) / fx * focal, when)
    prim.CreateVerticalApertureOffsetAttr().Set((cy - hw[0] / 2) / fy * focal, when)
    prim.CreateClippingRangeAttr().Set((0.01, 1e5), when)


class _Pxr:
    """The modules of USD, loaded when first needed."""

    def __getattr__(self, name: str) -> Any:
        return load_optional(f"pxr.{name}", "USD", from_extra("usd"))

    def vectors(self, values: Float[torch.Tensor, "n 3"], where: str) -> Any:
        """Vectors as USD keeps them. Raises InputError for NaN or Inf."""
        if not bool(values.isfinite().all()):
            raise InputError(f"{where}: NaN or Inf; expected finite float32")
        return self.Vt.Vec3fArray.FromNumpy(values.detach().float().cpu().contiguous().numpy())
