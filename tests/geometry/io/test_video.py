"""MP4 in and out."""

import struct
from fractions import Fraction

import av
import pytest
import torch
from av.video.frame import PictureType

from geometry.io.images import write_png
from geometry.io.video import read_mp4, write_mp4

BARS = torch.tensor(
    [[1, 1, 1], [1, 1, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0], [0.75, 0.2, 0.4]]
).T


def bars(width: int = 16, height: int = 64) -> torch.Tensor:
    return BARS[:, None].repeat(1, height, 1).repeat_interleave(width, -1)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_color_bars_come_back_within_3_of_255(tmp_path, codec) -> None:
    write_mp4(tmp_path / "a.mp4", bars().expand(4, -1, -1, -1), 25.0, codec=codec)
    back = read_mp4(tmp_path / "a.mp4")
    assert back.shape == (4, 3, 64, 144)
    assert (back - bars())[..., 8:-8, 8::16].abs().max() <= 3 / 255


def test_files_say_bt709_tv_range_yuv420p_constant_rate_and_have_no_b_frames(tmp_path) -> None:
    moving = bars().repeat(7, 1, 1, 1)
    for i in range(7):
        moving[i, :, 20:30, 10 + 4 * i : 20 + 4 * i] = 0.5
    write_mp4(tmp_path / "a.mp4", moving, 12.5)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        tags = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
        assert tags == (1, 1, 1, 1)
        assert context.name == "h264" and context.pix_fmt == "yuv420p" and stream.average_rate == Fraction(25, 2)
        frames = list(container.decode(stream))
        assert [frame.time for frame in frames] == [pytest.approx(i / 12.5) for i in range(7)]
        assert {PictureType(frame.pict_type).name for frame in frames} == {"I", "P"}


def test_luma_is_the_bt709_sum_in_limited_range(tmp_path) -> None:
    write_mp4(tmp_path / "a.mp4", bars()[None], 25.0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
        luma = torch.from_numpy(frame.to_ndarray())[32, 8:144:16].double()
    expected = 16 + 219 * (torch.tensor([0.2126, 0.7152, 0.0722]) @ BARS).double()
    assert (luma - expected).abs().max() <= 1.5


def test_color_edges_stay_in_place(tmp_path) -> None:
    """Chroma sited elsewhere than assumed would shift a color edge by half a pixel or more."""
    schedule = torch.linspace(0, 1, 64)
    image = torch.stack([schedule.expand(64, 64), (1 - schedule).expand(64, 64), torch.full((64, 64), 0.3)])
    for turned in (image, image.mT):
        write_mp4(tmp_path / "a.mp4", turned[None], 25.0)
        error = (read_mp4(tmp_path / "a.mp4")[0] - turned)[:, 4:-4, 4:-4]
        assert error.mean((1, 2)).abs().max() < 0.25 / 63 / 2


def test_the_same_images_give_the_same_bytes(tmp_path) -> None:
    rgb = torch.rand(6, 3, 48, 64)
    for name in ("a", "b"):
        write_mp4(tmp_path / f"{name}.mp4", rgb, 24.0)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_odd_sizes_are_padded_by_their_last_row_and_column(tmp_path) -> None:
    smooth = torch.linspace(0, 1, 31 * 45).view(31, 45).expand(2, 3, 31, 45)
    write_mp4(tmp_path / "a.mp4", smooth, 25.0)
    back = read_mp4(tmp_path / "a.mp4")
    assert back.shape == (2, 3, 32, 46)
    assert (back[..., :31, :45] - smooth).abs().max() < 0.03
    assert (back[..., 31, :45] - smooth[..., 30, :]).abs().max() < 0.03


def test_scale_repeats_pixels(tmp_path) -> None:
    gray = torch.rand(1, 1, 10, 15).expand(1, 3, 10, 15)
    write_mp4(tmp_path / "a.mp4", gray, 25.0, scale=6)
    back = read_mp4(tmp_path / "a.mp4")
    assert back.shape == (1, 3, 60, 90)
    blocks = back.view(3, 10, 6, 15, 6)[:, :, 1:-1, :, 1:-1]
    assert (blocks.mean((2, 4)) - gray[0]).abs().max() < 0.03


def test_a_video_that_was_held_sideways_is_turned_upright(tmp_path) -> None:
    write_mp4(tmp_path / "a.mp4", bars()[None], 25.0)
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    matrix = data.index(b"tkhd") + 44
    assert struct.unpack(">9i", data[matrix : matrix + 36]) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)  # x right -> y down
    (tmp_path / "a.mp4").write_bytes(data)
    back = read_mp4(tmp_path / "a.mp4")[0]
    assert (back - bars().rot90(-1, (1, 2)))[:, 8::16, 8:-8].abs().max() <= 3 / 255


def test_a_foreign_video_is_read(shared) -> None:
    frames = read_mp4(shared / "data/video/bottles.mp4")
    assert frames.shape == (81, 3, 360, 640)
    assert 0.05 < float(frames.mean()) < 0.95


def test_files_that_are_no_whole_video_are_refused(tmp_path, refused) -> None:
    write_mp4(tmp_path / "good.mp4", torch.rand(9, 3, 32, 32), 25.0)
    write_png(tmp_path / "image.png", torch.rand(3, 32, 32))
    data = (tmp_path / "good.mp4").read_bytes()
    cases = {"empty.mp4": b"", "text.mp4": b"not a video" * 99, "half.mp4": data[: len(data) // 2]}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with refused(tmp_path / name):
            read_mp4(tmp_path / name)
    with refused("no such file"):
        read_mp4(tmp_path / "absent.mp4")
    with refused("more than 8 frames"):
        read_mp4(tmp_path / "good.mp4", max_frames=8)


def test_what_cannot_be_encoded_is_refused_and_leaves_no_file(tmp_path, refused) -> None:
    path = tmp_path / "a.mp4"
    with refused("0 frames"):
        write_mp4(path, torch.zeros(0, 3, 8, 8), 25.0)
    with refused("NaN"):
        write_mp4(path, torch.full((1, 3, 8, 8), torch.nan), 25.0)
    for fps in (0.0, -1.0, torch.nan):
        with refused("frames per second"):
            write_mp4(path, torch.zeros(1, 3, 8, 8), fps)
    with refused("no encoder nosuch"):
        write_mp4(path, torch.zeros(1, 3, 8, 8), 25.0, codec="nosuch")
    assert list(tmp_path.iterdir()) == []
