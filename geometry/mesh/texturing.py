"""Textured meshes: unwrapped, baked from posed images, and rendered. Pixels of a texture are called texels."""

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.projection import pixels_of
from geometry.conventions import linear_from_srgb, srgb_from_linear
from geometry.errors import InputError
from geometry.image.coercion import FramesLike, as_frames
from geometry.image.depth import depth_edges
from geometry.image.sampling import sample_across, sample_at
from geometry.image.warping import fill_nearest
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.mesh.rasterizing import Raster, interpolate, rasterize
from geometry.optional import from_extra, load_optional
from geometry.points.pointclouds import GRAY
from geometry.rotation.transforms import transform_points
from geometry.shapes import Bool, Float, Int

_EDGE_RATIO = 0.05  # jumps of the mesh's depth, relative to it, beside which images mix two surfaces
_EDGE_PX = 1  # how far such a mixture reaches
_EDGE_WEIGHT = 1e-4  # of a mixed pixel: it counts only where nothing better is seen
_HIDDEN = 0.01  # a point this much farther than the mesh's own depth, relative to it, is hidden
_SLANT = 0.05  # the most that a slant of the surface adds to that
_SHARPNESS = 3  # power of the weights: 0 is the mean of all cameras, infinity takes the best one alone


def unwrap(mesh: Mesh, size_px: int = 1024, padding_px: int = 3) -> TexturedMesh:
    """Cut a mesh into charts that lie side by side in a texture, by xatlas (the `[mesh]` extra).

    The time grows faster than the number of faces (20,000: seconds): `simplify` first.

    Args:
        mesh: the mesh; its colors are dropped.
        size_px: about the height and width of the texture.
        padding_px: texels between charts.

    Returns:
        The mesh with its faces in the same order, and a gray texture.

    Raises:
        InputError: no faces, vertices with NaN or Inf, numbers out of range, no area, or xatlas is missing.
    """
    if not len(mesh.faces) or not bool(mesh.vertices.isfinite().all()):
        raise InputError(f"unwrapping {len(mesh.faces)} faces; expected at least one, and finite vertices")
    if not 16 <= size_px <= 16384 or padding_px < 0:
        raise InputError(f"texture of {size_px} px, {padding_px} between charts; expected 16 to 16384, and 0 or more")
    xatlas = load_optional("xatlas", "xatlas", from_extra("mesh"))
    atlas = xatlas.Atlas()
    corners = mesh.vertices.detach().double().cpu()
    atlas.add_mesh((corners - corners.mean(0)).float().numpy(), mesh.faces.cpu().numpy().astype(np.uint32))
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding, packing.bilinear = size_px, padding_px, True
    atlas.generate(pack_options=packing)
    source, faces, uv = atlas[0]
    if not atlas.width or not atlas.height:
        raise InputError("unwrapping: no face of positive area; expected a surface")
    device = mesh.vertices.device
    kept = torch.from_numpy(source.astype(np.int64)).to(device)
    cut = Mesh(mesh.vertices[kept], torch.from_numpy(faces.astype(np.int64)).to(device))
    place = torch.from_numpy(uv.copy()).to(device).clamp(0, 1)
    return TexturedMesh(cut, place, torch.full((3, atlas.height, atlas.width), GRAY, device=device))


def bake(textured: TexturedMesh, rgb: FramesLike, cameras: Cameras) -> TexturedMesh:
    """Paint the texture of a mesh from posed images.

    Each texel's surface point is looked up bilinearly in the images that see it, by the mesh's own depth, and colors
    are averaged in linear light. A camera's weight is the number of its pixels that a square metre of the surface fills
    there (the projected area, by which Allène et al. 2008 choose views; Buehler et al. 2001 blend by angle and
    resolution), to the third power, so that the best cameras decide and none takes over abruptly. Pixels beside a jump
    in depth mix two surfaces and count only where no others see the point. Unseen texels take colors that spread over
    the surface, texels between charts those of the nearest chart, so that no sampling bleeds.

    Args:
        textured: the mesh, as `unwrap` gives it.
        rgb: f images, sRGB in 0..1.
        cameras: their pinhole cameras, of batch shape [f].

    Returns:
        The same mesh with the painted texture.

    Raises:
        InputError: shapes disagree, no texel is seen, or as `rasterize` raises it.
    """
    rgb = as_frames(rgb, "baking: rgb", double=True)
    if rgb.shape != (*cameras.shape, 3, *cameras.hw) or len(cameras.shape) != 1:
        raise InputError(
            f"baking: rgb {tuple(rgb.shape)}, cameras {tuple(cameras.shape)} of size {cameras.hw}; "
            "expected [f, 3, h, w] and [f] of size (h, w)"
        )
    mesh, cameras = textured.mesh, cameras.to(torch.float64)
    chart = _texels(textured)
    on_chart = chart.face[0] >= 0
    point = interpolate(chart, mesh, mesh.vertices.double())[:, on_chart].mT
    a, b, c = mesh.vertices.double()[mesh.faces[chart.face[0][on_chart]]].unbind(1)
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
    light, weight = torch.zeros_like(point), torch.zeros_like(point[:, 0])
    for i in range(len(cameras)):
        image = linear_from_srgb(rgb[i].to(point))
        index, share, found = _looked_up(rasterize(mesh, cameras[i]), cameras[i], image, point, normal)
        light[index] += share[:, None] * found
        weight[index] += share
    if not bool((weight > 0).any()):
        raise InputError("baking: no camera sees the mesh; expected cameras that look at it")
    light = light / weight.clamp_min(1e-300)[:, None]
    light = torch.where(weight[:, None] > 0, light, _spread(textured, chart, light, weight > 0))
    texture = torch.zeros_like(textured.texture, dtype=torch.float64)
    texture[:, on_chart] = srgb_from_linear(light).mT
    texture = fill_nearest(texture, on_chart[None])
    return TexturedMesh(mesh, textured.uv, texture.clamp(0, 1).to(textured.texture.dtype))


def render_textured(
    textured: TexturedMesh, cameras: Cameras, background: Float[torch.Tensor, "3"] | None = None, near_m: float = 0.01
) -> tuple[Float[torch.Tensor, "*b 3 h w"], Float[torch.Tensor, "*b 1 h w"]]:
    """Render a textured mesh, unlit: the nearest surface of every pixel, with its texture.

    Texels are interpolated bilinearly in linear light, as viewers of our GLB files do; the texture's border is repeated
    beyond it. Exact at pixel centers, not prefiltered: a texture much finer than the pixels aliases.

    Args:
        textured: the mesh.
        cameras: pinhole cameras of batch shape b.
        background: its sRGB; black by default.
        near_m: z in metres of the near plane.

    Returns:
        Images [*b, 3, h, w], sRGB in 0..1, and depth [*b, 1, h, w], z in metres, inf at the background.

    Raises:
        InputError: as `rasterize` raises it.
    """
    raster = rasterize(textured.mesh, cameras, near_m)
    uv = interpolate(raster, textured.mesh, textured.uv)
    light = sample_across(linear_from_srgb(textured.texture.to(uv)), 2 * uv.movedim(-3, -1).flatten(0, -2) - 1).mT
    rgb = srgb_from_linear(light).reshape(*cameras.shape, *cameras.hw, 3).movedim(-1, -3)
    behind = rgb.new_zeros(3) if background is None else background.to(rgb)
    return torch.where(raster.face >= 0, rgb, behind[:, None, None]), raster.depth


def _texels(textured: TexturedMesh) -> Raster:
    """The face and barycentric weights at every texel's center: the texture seen as an image of the flattened mesh.

    The camera of K = 1 at the origin sees the point (x, y, 1) in pixel position (x, y).
    """
    height, width = textured.texture.shape[-2:]
    place = textured.uv.double() * textured.uv.new_tensor([width, height]).double()
    flat = Mesh(torch.cat([place, torch.ones_like(place[:, :1])], -1), textured.mesh.faces)
    eye = torch.eye(4, dtype=torch.float64, device=place.device)
    return rasterize(flat, Cameras(eye, eye[:3, :3], (height, width)))


def _looked_up(
    raster: Raster,
    camera: Cameras,
    image: Float[torch.Tensor, "3 h w"],
    point: Float[torch.Tensor, "n 3"],
    normal: Float[torch.Tensor, "n 3"],
) -> tuple[Int[torch.Tensor, "m"], Float[torch.Tensor, "m"], Float[torch.Tensor, "m 3"]]:
    """Which surface points one camera sees, with what weight, and what its image shows there.

    A surface element of area A at p (in camera axes), tilted by n, fills fx fy A |n . p| / z^3 pixels.
    """
    size = camera.K.new_tensor([camera.hw[1], camera.hw[0]])
    p = transform_points(camera.camera_from_world, point)
    uv, z = pixels_of(camera, p)
    index = ((z > 0) & (uv >= 0).all(-1) & (uv < size).all(-1)).nonzero()[:, 0]
    p, uv, z = p[index], uv[index], z[index]
    column, row = uv.long().unbind(-1)
    facing = (normal[index] @ camera.world_from_camera[:3, :3] * p).sum(-1).abs().clamp_min(1e-12)
    focal = camera.K[[0, 1], [0, 1]]
    # Within its pixel a slanted surface is nearer and farther than at the pixel's center.
    slant = z.square() / (facing * focal.min())
    shown = z <= raster.depth[0, row, column] * (1 + _HIDDEN) + torch.minimum(slant, _SLANT * z)
    edge = depth_edges(raster.depth, _EDGE_RATIO).double()
    edge = torch.nn.functional.max_pool2d(edge[None], 2 * _EDGE_PX + 1, 1, _EDGE_PX)[0, 0] > 0
    weight = (focal.prod() * facing / z**3) ** _SHARPNESS * torch.where(edge[row, column], _EDGE_WEIGHT, 1.0)
    return index[shown], weight[shown], sample_at(image, uv[shown]).mT


def _spread(
    textured: TexturedMesh, chart: Raster, light: Float[torch.Tensor, "n 3"], seen: Bool[torch.Tensor, "n"]
) -> Float[torch.Tensor, "n 3"]:
    """Colors for the texels on charts from those of them that are seen, along the surface: across seams too.

    Vertices take the mean color of the seen texels of their faces, then of their neighbors that have one, one edge
    further each time; the texels mix those of their face. Pieces of the mesh with nothing seen take the mean of all.
    """
    mesh, on_chart = textured.mesh, chart.face[0] >= 0
    _, whole = mesh.vertices.unique(dim=0, return_inverse=True)
    faces = whole[mesh.faces]
    corner = faces[chart.face[0][on_chart]]
    mix = chart.weights[:, on_chart].mT.clamp_min(1e-6) * seen[:, None]
    count = int(whole.max()) + 1
    share = light.new_zeros(count).index_add(0, corner.flatten(), mix.flatten())
    total = light.new_zeros(count, 3).index_add(0, corner.flatten(), (mix[..., None] * light[:, None]).flatten(0, 1))
    known = share > 0
    color = total / share.clamp_min(1e-300)[:, None]
    start, end = torch.cat([faces, faces.flip(1)]).flatten(), torch.cat([faces.roll(1, 1), faces.flip(1).roll(1, 1)])
    end = end.flatten()
    while True:
        edge = known[end] & ~known[start]
        if not bool(edge.any()):
            break
        total = torch.zeros_like(color).index_add(0, start[edge], color[end[edge]])
        reached = torch.bincount(start[edge], minlength=count)
        color = torch.where((reached > 0)[:, None], total / reached.clamp_min(1)[:, None], color)
        known = known | (reached > 0)
    color = torch.where(known[:, None], color, light[seen].mean(0))
    return (chart.weights[:, on_chart].mT[..., None] * color[corner]).sum(1)
