"""Everything that is given as an image, frames or depth comes to one tensor or to one clear error, everywhere."""

import inspect
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import geometry
import geometry.interop.open3d
import geometry.io.images
from docs.api import public_names
from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.image import coercion
from geometry.image.coercion import as_depth, as_depths, as_frames, as_image
from geometry.image.resampling import resample, undistort
from geometry.image.warping import backward_visible, backward_warp, forward_warp
from geometry.io import read_depth_png, read_exr, read_image, read_mp4, write_depth_png, write_exr, write_mp4, write_png
from geometry.io.images import decode_depth_png, decode_png, encode_depth_png, encode_png
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.trajectory.paths import orbit

H, W, RIGHT, REFUSED = 12, 16, "right", "refused"
SWEPT = {"sweep_view.images", "sweep_costs.images", "sweep_costs.own", "nearest_depth.images"}
SWEPT |= {"warp_at_inverse_depth.images", "warp_at_inverse_depth.inverse_depth"}


def scene() -> tuple[torch.Tensor, torch.Tensor, Cameras]:
    """Two posed frames whose values 8 and 16 bits can hold exactly enough, with the depth of what they look at."""
    pixels = torch.randint(0, 256, (2, 3, H, W), generator=torch.Generator().manual_seed(1))
    cameras = Cameras.from_fov(orbit(torch.zeros(3), 2.0, 20.0, 12)[:2], 50.0, (H, W))
    return pixels.float() / 255, torch.full((2, 1, H, W), 2.0), cameras


def pil(rgb: torch.Tensor) -> Image.Image:
    """[3, h, w] as PIL has it."""
    return Image.fromarray((rgb * 255).round().byte().movedim(0, -1).numpy())


class Case(NamedTuple):
    """A form in which frames [f, 3, h, w] in 0..1 are given, and what is right for it."""

    form: Callable[[torch.Tensor], Any]
    right: str
    words: str = ""


def _with_nan(frames: torch.Tensor) -> torch.Tensor:
    frames = frames.clone()
    frames[0, 0, 0, 0] = torch.nan
    return frames


COLORS = {
    "float32": Case(lambda x: x, RIGHT),
    "float64": Case(lambda x: x.double(), RIGHT),
    "float16": Case(lambda x: x.half(), RIGHT),
    "bfloat16": Case(lambda x: x.bfloat16(), RIGHT),
    "uint8": Case(lambda x: (x * 255).round().byte(), RIGHT),
    "uint16": Case(lambda x: torch.from_numpy((x * 65535).round().numpy().astype(np.uint16)), RIGHT),
    "channels last": Case(lambda x: x.movedim(1, -1), RIGHT),
    "uint8 channels last": Case(lambda x: (x * 255).round().byte().movedim(1, -1), RIGHT),
    "numpy": Case(lambda x: x.numpy(), RIGHT),
    "numpy uint8 channels last": Case(lambda x: (x * 255).round().byte().movedim(1, -1).numpy(), RIGHT),
    "numpy float64 big-endian": Case(lambda x: x.numpy().astype(">f8"), RIGHT),
    "numpy read-only": Case(lambda x: np.frombuffer(x.numpy().tobytes(), np.float32).reshape(x.shape), RIGHT),
    "list of tensors": Case(lambda x: list(x), RIGHT),
    "tuple of arrays": Case(lambda x: tuple(image.numpy() for image in x.movedim(1, -1)), RIGHT),
    "list of PIL": Case(lambda x: [pil(image) for image in x], RIGHT),
    "nested lists": Case(lambda x: x.tolist(), RIGHT),
    "opaque RGBA": Case(lambda x: torch.cat([x, torch.ones_like(x[:, :1])], 1), RIGHT),
    "bool": Case(lambda x: x > 0.5, REFUSED, "bool"),
    "int64": Case(lambda x: (x * 255).long(), REFUSED, "int64"),
    "complex": Case(lambda x: x.to(torch.complex64), REFUSED, "complex64"),
    "0..255": Case(lambda x: x * 255, REFUSED, "divide by 255"),
    "numpy 0..255": Case(lambda x: x.numpy() * 255, REFUSED, "divide by 255"),
    "-1..1": Case(lambda x: 2 * x - 1, REFUSED, "add 1 and halve"),
    "NaN": Case(_with_nan, REFUSED, "NaN or Inf"),
    "Inf": Case(lambda x: 1 / (x - x), REFUSED, "NaN or Inf"),
    "two channels": Case(lambda x: x[:, :2], REFUSED, "3"),
    "five channels": Case(lambda x: torch.cat([x, x[:, :2]], 1), REFUSED, "3"),
    "texts": Case(lambda x: ["a.png", "b.png"], REFUSED, "expected"),
    "nothing": Case(lambda x: None, REFUSED, "expected"),
    "ragged": Case(lambda x: [[1.0, 2.0], [3.0]], REFUSED, "expected"),
}  # fmt: skip
DEPTHS = {
    "float32": Case(lambda z: z, RIGHT),
    "float64": Case(lambda z: z.double(), RIGHT),
    "float16": Case(lambda z: z.half(), RIGHT),
    "bfloat16": Case(lambda z: z.bfloat16(), RIGHT),
    "numpy": Case(lambda z: z.numpy(), RIGHT),
    "channels last": Case(lambda z: z.movedim(1, -1), RIGHT),
    "no channel": Case(lambda z: z[:, 0], RIGHT),
    "list": Case(lambda z: list(z), RIGHT),
    "nested lists": Case(lambda z: z.tolist(), RIGHT),
    "uint8": Case(lambda z: z.byte(), REFUSED, "unit"),
    "uint16": Case(lambda z: (z * 1000).numpy().astype(np.uint16), REFUSED, "unit"),
    "bool": Case(lambda z: z > 0, REFUSED, "bool"),
    "negative": Case(lambda z: -z, REFUSED, "negative"),
    "NaN": Case(lambda z: z * torch.nan, REFUSED, "NaN"),
    "three channels": Case(lambda z: z.expand(-1, 3, -1, -1), REFUSED, "expected"),
    "nothing": Case(lambda z: None, REFUSED, "expected"),
}


class Entry(NamedTuple):
    """A function that takes images, by the public names of its parameters, and a call of it with frames, depth and a
    folder to write to. It takes colors of any range (`hdr`), or one image (`single`) in place of frames."""

    takes: tuple[str, ...]
    call: Callable[[Any, Any, Path], Any]
    hdr: bool = False
    single: bool = False


def _mesh() -> TexturedMesh:
    corners = torch.tensor([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [-0.5, 0.5, 0.0]])
    uv = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    return TexturedMesh(Mesh(corners, torch.tensor([[0, 1, 2], [0, 2, 3]])), uv, torch.full((3, 16, 16), 0.5))


def _written(write: Callable[[Path], None], path: Path, read: Callable[[Path], Any]) -> Any:
    """What is read back. Nothing is written where the writer refuses."""
    try:
        write(path)
    except InputError:
        assert not path.exists() and list(path.parent.iterdir()) == []
        raise
    return read(path)


_read_depth = partial(read_depth_png, metres_per_unit=0.001)
_, _, CAMERAS = scene()
ENTRIES = {
    "as_image": Entry(("geometry.as_image.value",), lambda x, z, p: as_image(x), single=True),
    "as_frames": Entry(("geometry.as_frames.value",), lambda x, z, p: as_frames(x)),
    "write_png": Entry(
        ("geometry.io.write_png.rgb",),
        lambda x, z, p: _written(lambda f: write_png(f, x), p / "a.png", read_image), single=True,
    ),
    "encode_png": Entry((), lambda x, z, p: decode_png(encode_png(x), "it"), single=True),
    "write_exr": Entry(
        ("geometry.io.write_exr.rgb",),
        lambda x, z, p: _written(lambda f: write_exr(f, x), p / "a.exr", lambda f: read_exr(f)[0]),
        hdr=True, single=True,
    ),
    "write_mp4": Entry(
        ("geometry.io.write_mp4.rgb",), lambda x, z, p: _written(lambda f: write_mp4(f, x, 10.0), p / "a.mp4", read_mp4)
    ),
    "points_from_depth": Entry(
        ("geometry.points_from_depth.rgb",), lambda x, z, p: geometry.points_from_depth(x, z, CAMERAS).colors
    ),
    "fuse_points": Entry(
        ("geometry.fuse_points.rgb",), lambda x, z, p: geometry.fuse_points(x, z, CAMERAS, confirmations=0)[0].colors
    ),
    "fuse_tsdf": Entry(
        ("geometry.fuse_tsdf.rgb",), lambda x, z, p: geometry.fuse_tsdf(x, z, CAMERAS, 0.1).colors
    ),
    "forward_warp": Entry(
        ("geometry.forward_warp.rgb",), lambda x, z, p: forward_warp(x, z, CAMERAS, CAMERAS[1])[0], hdr=True
    ),
    "soft_forward_warp": Entry(
        ("geometry.soft_forward_warp.rgb",),
        lambda x, z, p: geometry.soft_forward_warp(x, z, CAMERAS, CAMERAS[1])[0], hdr=True,
    ),
    "bake": Entry(("geometry.bake.rgb",), lambda x, z, p: geometry.bake(_mesh(), x, CAMERAS).texture),
    "fit_splats": Entry(
        ("geometry.fit_splats.rgb",),
        lambda x, z, p: geometry.fit_splats(x, CAMERAS, depth=z, gaussians=20, steps=0).harmonics,
    ),
}  # fmt: skip
DEPTH_ENTRIES = {
    "as_depth": Entry(("geometry.as_depth.value",), lambda x, z, p: as_depth(z), single=True),
    "as_depths": Entry(("geometry.as_depths.value",), lambda x, z, p: as_depths(z)),
    "write_depth_png": Entry(
        ("geometry.io.write_depth_png.depth",),
        lambda x, z, p: _written(lambda f: write_depth_png(f, z, 0.001), p / "a.png", _read_depth), single=True,
    ),
    "encode_depth_png": Entry(
        (), lambda x, z, p: decode_depth_png(encode_depth_png(z, 0.001), 0.001, "it"), single=True
    ),
    "write_exr": Entry(
        ("geometry.io.write_exr.depth",),
        lambda x, z, p: _written(lambda f: write_exr(f, x[0], z), p / "a.exr", lambda f: read_exr(f)[1]), single=True,
    ),
    "points_from_depth": Entry(
        ("geometry.points_from_depth.depth",), lambda x, z, p: geometry.points_from_depth(x, z, CAMERAS).points
    ),
    "fuse_points": Entry(
        ("geometry.fuse_points.depth",), lambda x, z, p: geometry.fuse_points(x, z, CAMERAS, confirmations=0)[0].points
    ),
    "fuse_tsdf": Entry(
        ("geometry.fuse_tsdf.depth",), lambda x, z, p: geometry.fuse_tsdf(x, z, CAMERAS, 0.1).vertices
    ),
    "forward_warp": Entry(
        ("geometry.forward_warp.depth",), lambda x, z, p: forward_warp(x, z, CAMERAS, CAMERAS[1])[1]
    ),
    "soft_forward_warp": Entry(
        ("geometry.soft_forward_warp.depth",),
        lambda x, z, p: geometry.soft_forward_warp(x, z, CAMERAS, CAMERAS[1])[1],
    ),
    "backward_warp": Entry(
        ("geometry.backward_warp.source_depth",),
        lambda x, z, p: backward_warp(x, torch.full((1, H, W), 2.0), CAMERAS[0], z, CAMERAS)[1],
    ),
    "backward_warp's own": Entry(
        ("geometry.backward_warp.depth",),
        lambda x, z, p: backward_warp(x, z, CAMERAS[0], torch.full((2, 1, H, W), 2.0), CAMERAS)[1], single=True,
    ),
    "backward_visible": Entry(
        ("geometry.backward_visible.source_depth",),
        lambda x, z, p: backward_visible(torch.full((1, H, W), 2.0), CAMERAS[0], z, CAMERAS),
    ),
    "backward_visible's own": Entry(
        ("geometry.backward_visible.depth",),
        lambda x, z, p: backward_visible(z, CAMERAS[0], torch.full((2, 1, H, W), 2.0), CAMERAS), single=True,
    ),
    "fit_splats": Entry(
        ("geometry.fit_splats.depth",),
        lambda x, z, p: geometry.fit_splats(x, CAMERAS, depth=z, gaussians=20, steps=0).means,
    ),
}  # fmt: skip
# Channels mean anything here: only types and sizes are checked.
MAP_ENTRIES = {
    "undistort": Entry(("geometry.undistort.images",), lambda x, z, p: undistort(x, CAMERAS)[0]),
    "resample": Entry(("geometry.resample.images",), lambda x, z, p: resample(x, CAMERAS, CAMERAS)[0]),
    "backward_warp": Entry(
        ("geometry.backward_warp.rgb",),
        lambda x, z, p: backward_warp(x, z[0], CAMERAS[0], z, CAMERAS)[0],
    ),
    "warp_by_flow": Entry(
        ("geometry.warp_by_flow.image",), lambda x, z, p: geometry.warp_by_flow(x, torch.zeros(2, 2, H, W))[0]
    ),
    "ssim": Entry(("geometry.ssim.a", "geometry.ssim.b"), lambda x, z, p: geometry.ssim(x, x)),
}  # fmt: skip


def check(entry: Entry, case: Case, frames: Any, call: Callable[[Any], Any], right: bool) -> None:
    """The case has the result of float32 [f, 3, h, w], or is refused in one line."""
    given = case.form(frames)
    given = given[0] if entry.single and given is not None else given
    if not right:
        with pytest.raises(InputError) as caught:
            call(given)
        assert case.words in str(caught.value) and "expected" in str(caught.value)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
        return
    found, wanted = call(given), call(frames[0] if entry.single else frames)
    assert found.shape == wanted.shape
    exact = 3e-2 if "float16" in str(getattr(given, "dtype", "")) else 1e-5  # bfloat16 too
    assert torch.allclose(found.double(), wanted.double(), atol=2 * exact), (found - wanted).abs().max()


@pytest.mark.parametrize("case", COLORS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_colors_in_every_form(entry: str, case: str, tmp_path: Path) -> None:
    if entry == "write_exr":
        pytest.importorskip("OpenEXR")
    where, (form, right, words) = ENTRIES[entry], COLORS[case]
    frames, depth, _ = scene()
    if where.single and case in ("texts", "ragged"):
        form = lambda x: [form_of[case]]  # noqa: E731
        form_of: dict[str, Any] = {"texts": "a.png", "ragged": [[1.0, 2.0], [3.0]]}
    ok = right == RIGHT or (where.hdr and case in ("0..255", "numpy 0..255", "-1..1"))
    if ok and right != RIGHT:
        assert where.call(form(frames)[0] if where.single else form(frames), depth, tmp_path) is not None
        return
    check(where, Case(form, right, words), frames, lambda x: where.call(x, depth, tmp_path), ok)


@pytest.mark.parametrize("case", DEPTHS)
@pytest.mark.parametrize("entry", DEPTH_ENTRIES)
def test_depth_in_every_form(entry: str, case: str, tmp_path: Path) -> None:
    if entry == "write_exr":
        pytest.importorskip("OpenEXR")
    if case == "nothing" and entry in ("write_exr", "fit_splats"):
        pytest.skip("depth may be left out")
    where, frames = DEPTH_ENTRIES[entry], scene()[0]
    check(where, DEPTHS[case], scene()[1], lambda z: where.call(frames, z, tmp_path), DEPTHS[case].right == RIGHT)


@pytest.mark.parametrize(
    "case", ["float32", "float64", "float16", "bfloat16", "uint8", "uint16", "numpy", "bool", "int64"]
)
@pytest.mark.parametrize("entry", MAP_ENTRIES)
def test_maps_of_any_channels_in_every_type(entry: str, case: str, tmp_path: Path) -> None:
    where, (frames, depth, _) = MAP_ENTRIES[entry], scene()
    check(where, COLORS[case], frames, lambda x: where.call(x, depth, tmp_path), COLORS[case].right == RIGHT)


def test_every_public_function_that_takes_images_is_in_the_tables() -> None:
    kinds = (coercion.ImageLike, coercion.FramesLike, coercion.DepthLike, coercion.DepthsLike, coercion.MapsLike)
    found, shaped = set(), set()
    for package, names in public_names().items():
        if not package.startswith("geometry"):
            continue
        for name in names:
            function = getattr(__import__(package, fromlist=[name]), name)
            if not inspect.isfunction(function):
                continue
            for parameter in inspect.signature(function).parameters.values():
                label = f"{name}.{parameter.name}"
                if any(str(kind) in str(parameter.annotation) for kind in kinds):
                    found.add(label)
                elif re.search(r"'(f )?[13] h\d? w\d?'", str(parameter.annotation)):
                    shaped.add(label)
    listed = {
        ".".join(taken.split(".")[-2:])
        for table in (ENTRIES, DEPTH_ENTRIES, MAP_ENTRIES) for entry in table.values() for taken in entry.takes
    }  # fmt: skip
    elsewhere = {"fuse_tsdf_open3d.rgb", "fuse_tsdf_open3d.depth"} | SWEPT  # by the same checks, beside their modules
    assert shaped == set(), "a public function takes a bare tensor: take `ImageLike` or its like"
    assert found - listed == elsewhere
    assert listed - found == set(), "in a table, but no public function takes it"


def test_a_tensor_that_is_right_is_returned_itself_and_gradients_pass() -> None:
    frames, depth, _ = scene()
    assert as_frames(frames) is frames and as_image(frames[0]).data_ptr() == frames.data_ptr()
    assert as_depths(depth) is depth
    for call, shape in (
        (lambda x: as_image(x, double=True), (3, 2, 5)),
        (lambda x: as_frames(x, double=True), (2, 2, 5, 3)),
        (lambda x: as_depth(x, double=True), (2, 5)),
        (lambda x: as_depths(x, double=True), (2, 1, 2, 5)),
    ):
        assert torch.autograd.gradcheck(call, torch.rand(shape, dtype=torch.float64, requires_grad=True))


def test_what_is_returned_of_an_array_does_not_change_with_it() -> None:
    array = np.zeros((3, 8, 9), np.float32)
    image = as_image(array)
    array[:] = 1
    assert float(image.max()) == 0


@pytest.mark.parametrize(
    ("shape", "right"),
    [
        ((3, 8, 9), True), ((8, 9, 3), True), ((1, 8, 9), True), ((8, 9, 1), True), ((8, 9), True), ((4, 8, 9), True),
        ((8, 9, 4), True), ((3, 8, 3), True), ((3, 8, 4), True), ((3, 1, 1), True), ((4, 8, 3), False),
        ((1, 8, 3), False), ((2, 8, 9), False), ((8, 9, 5), False), ((8,), False), ((1, 3, 8, 9), False),
        ((3, 0, 9), False),
    ],
)  # fmt: skip
def test_layouts_are_recognized_or_refused(shape: tuple[int, ...], right: bool) -> None:
    image = torch.rand(shape)
    if right:
        assert as_image(image).shape[0] == 3
        first = shape[0] if len(shape) == 3 and shape[0] in (1, 3, 4) else None
        if first == 3:
            assert torch.equal(as_image(image), image)
    else:
        with pytest.raises(InputError, match=r"shape \("):
            as_image(image)


def test_an_array_whose_channels_may_be_first_or_last_is_refused_and_a_tensor_is_channels_first() -> None:
    image = torch.rand(3, 9, 3)
    assert torch.equal(as_image(image), image)
    with pytest.raises(InputError, match="first or last"):
        as_image(image.numpy())


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "1", "CMYK", "I;16"])
def test_a_pil_image_is_what_its_file_is_read_as(mode: str, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (10, 14, 4), np.uint8)
    image = Image.fromarray(rows).convert("RGB" if mode in ("CMYK", "I;16") else mode)
    if mode == "I;16":
        image = Image.fromarray(rows[..., 0].astype(np.uint16) * 257)
    if mode == "CMYK":
        assert torch.equal(as_image(image.convert("CMYK")), as_image(image.convert("CMYK").convert("RGB")))
        return
    image.save(tmp_path / "a.png")
    assert torch.equal(as_image(image), read_image(tmp_path / "a.png"))


def test_what_is_transparent_lies_over_white_and_gray_has_three_channels() -> None:
    rgba = torch.zeros(4, 8, 9)
    rgba[3, :4] = 1
    assert as_image(rgba)[:, :4].max() == 0 and as_image(rgba)[:, 4:].min() == 1
    gray = torch.rand(8, 9)
    assert torch.equal(as_image(gray), gray.expand(3, -1, -1))


def test_images_of_several_sizes_and_a_path_are_refused() -> None:
    with pytest.raises(InputError, match="one size"):
        as_frames([torch.rand(3, 8, 9), torch.rand(3, 9, 9)])
    with pytest.raises(InputError, match="list of one image"):
        as_frames(torch.rand(3, 8, 9))
    with pytest.raises(InputError, match="text"):
        as_image("a.png")
