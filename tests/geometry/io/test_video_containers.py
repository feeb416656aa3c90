"""Videos as phones, cameras and editors make them: what a player shows is what is read, or one line says why not."""

import warnings
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition

from geometry.errors import Note
from geometry.io.video import read_mp4, read_mp4_at, video_times

BARS = np.repeat(np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8), 16, 0)
CARD = np.concatenate([np.broadcast_to(BARS, (24, 64, 3)), np.zeros((24, 64, 3), np.uint8)])  # black below


def encoded(
    path: Path,
    images: Sequence[np.ndarray],
    pts: Sequence[int] | None = None,
    prepare: Callable[[Any], Any] = lambda stream: None,
    options: dict[str, str] | None = None,
    **more: Any,
) -> Path:
    """An MP4 of H.264 at 10 frames a second, of a key frame every 20, its stream prepared."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 20, more.get("b_frames", 0)
        stream.codec_context.options = {"crf": "8"}
        prepare(stream)
        for n, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = n if pts is None else pts[n]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def grays(count: int) -> list[np.ndarray]:
    return [np.full((48, 64, 3), 20 + 5 * n, np.uint8) for n in range(count)]


def remuxed(source: Path, target: Path, start_s: float) -> Path:
    """The video from a time on, its packets copied: an edit list hides those before it."""
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        stream = before.streams.video[0]
        copied = after.add_stream_from_template(stream)
        assert stream.time_base is not None
        shift = int(start_s / stream.time_base)
        for packet in before.demux(stream):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copied
                after.mux(packet)
    return target


@pytest.mark.parametrize(("start_s", "b_frames"), [(1.3, 0), (2.0, 0), (0.4, 0), (0.9, 2)])
def test_a_video_trimmed_without_encoding_begins_where_it_was_cut(
    tmp_path: Path, start_s: float, b_frames: int
) -> None:
    whole = encoded(tmp_path / "whole.mp4", grays(40), b_frames=b_frames)
    cut = remuxed(whole, tmp_path / "cut.mp4", start_s)
    first = round(10 * start_s)
    frames, (times, hw) = read_mp4(cut), video_times(cut)
    assert len(frames) == len(times) == 40 - first and hw == (48, 64)
    assert times == pytest.approx([n / 10 for n in range(40 - first)])
    assert (255 * frames.mean((1, 2, 3)) - torch.tensor([20.0 + 5 * n for n in range(first, 40)])).abs().max() < 2
    assert (255 * read_mp4_at(cut, [1.0])[0].mean() - (20 + 5 * (first + 10))).abs() < 2


def test_packets_that_are_missing_make_it_incomplete_with_an_edit_list_too(tmp_path: Path, refused) -> None:
    noise = [np.random.default_rng(n).integers(0, 255, (48, 64, 3), np.uint8) for n in range(40)]
    whole = encoded(tmp_path / "whole.mp4", noise)
    cut = remuxed(whole, tmp_path / "cut.mp4", 1.3)
    front = tmp_path / "front.mp4"
    with av.open(str(cut)) as before, av.open(str(front), "w", options={"movflags": "faststart"}) as after:
        stream = before.streams.video[0]
        copied = after.add_stream_from_template(stream)
        for packet in before.demux(stream):
            if packet.dts is not None:
                packet.stream = copied
                after.mux(packet)
    assert len(read_mp4(front)) == 27
    data = front.read_bytes()
    for share in (0.5, 0.8, 0.99):
        front.write_bytes(data[: int(share * len(data))])
        for read in (read_mp4, video_times):
            with refused(front, "expected a complete"):
                read(front)


def test_cover_art_is_not_the_video(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.mp4", grays(5))
    with_cover = tmp_path / "b.mp4"
    with av.open(str(path)) as before, av.open(str(with_cover), "w") as after:
        cover: Any = after.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        copied = after.add_stream_from_template(before.streams.video[0])
        frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 255, np.uint8), format="rgb24")
        frame.pts = 0
        after.mux(cover.encode(frame.reformat(format="yuvj420p")))
        for packet in before.demux(video=0):
            if packet.dts is not None:
                packet.stream = copied
                after.mux(packet)
    with av.open(str(with_cover)) as container:
        if not any(s.disposition & Disposition.attached_pic for s in container.streams.video):
            pytest.skip("this PyAV writes no attached pictures")
    assert read_mp4(with_cover).shape == (5, 3, 48, 64)


def test_a_file_of_sound_alone_is_no_video(tmp_path: Path, refused) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for read in (read_mp4, video_times):
        with refused(path, "no video stream", "1 audio stream"):
            read(path)


def test_a_video_without_frames_is_refused(tmp_path: Path, refused) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
        container.mux(stream.encode(None))
    for read in (read_mp4, video_times):
        with refused(path):
            read(path)


@pytest.mark.parametrize(
    ("aspect", "hw"),
    [(Fraction(4, 3), (48, 85)), (Fraction(2, 1), (48, 128)), (Fraction(1, 2), (96, 64)), (Fraction(1, 1), (48, 64))],
)
def test_pixels_that_are_not_square_become_square(tmp_path: Path, aspect: Fraction, hw: tuple[int, int]) -> None:
    def prepare(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = aspect

    path = encoded(tmp_path / "a.mp4", [CARD] * 3, prepare=prepare)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        frames = read_mp4(path)
    assert frames.shape == (3, 3, *hw) and video_times(path)[1] == hw
    assert ["square" in str(entry.message) for entry in told] == ([] if aspect == 1 else [True])
    for n, color in enumerate(BARS[::16]):  # the bars are where they were across the width
        seen = frames[0, :, hw[0] // 4, round((n + 0.5) * hw[1] / 4)]
        assert (255 * seen - torch.tensor(color.astype(float))).abs().max() < 12


ONE = 1 << 16
SHOWN: dict[str, tuple[list[int], Callable[[np.ndarray], np.ndarray]]] = {
    "as it is": ([ONE, 0, 0, ONE], lambda image: image),
    "turned right": ([0, ONE, -ONE, 0], lambda image: np.rot90(image, -1)),
    "turned left": ([0, -ONE, ONE, 0], lambda image: np.rot90(image)),
    "upside down": ([-ONE, 0, 0, -ONE], lambda image: np.rot90(image, 2)),
    "mirrored": ([-ONE, 0, 0, ONE], lambda image: image[:, ::-1]),
    "flipped": ([ONE, 0, 0, -ONE], lambda image: image[::-1]),
    "transposed": ([0, ONE, ONE, 0], lambda image: image.swapaxes(0, 1)),
}


@pytest.mark.parametrize("how", SHOWN)
def test_it_is_turned_and_mirrored_as_it_says(tmp_path: Path, how: str) -> None:
    (a, b, c, d), shown = SHOWN[how]
    path = encoded(
        tmp_path / "a.mp4",
        [CARD] * 2,
        prepare=lambda stream: stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30]),
    )
    expected = torch.from_numpy(shown(CARD).copy()).movedim(-1, 0) / 255
    found = read_mp4(path)[0]
    assert found.shape == expected.shape and tuple(video_times(path)[1]) == tuple(found.shape[-2:])
    assert (found - expected).abs().mean() < 0.04


def test_other_turns_are_refused_by_name(tmp_path: Path, refused) -> None:
    path = encoded(tmp_path / "a.mp4", [CARD] * 2, prepare=lambda stream: stream.set_display_rotation(30))
    with refused(path, "turned by", "quarter turns"):
        read_mp4(path)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_by_name(tmp_path: Path, refused, transfer: int, name: str) -> None:
    def prepare(stream: Any) -> None:
        stream.codec_context.color_primaries, stream.codec_context.color_trc = 9, transfer
        stream.codec_context.colorspace = 9

    path = encoded(tmp_path / "a.mp4", [CARD] * 2, prepare=prepare)
    for read in (read_mp4, video_times, lambda path: read_mp4_at(path, [0.0])):
        with refused(path, "HDR", name, "SDR"):
            read(path)


def test_wide_primaries_are_told(tmp_path: Path) -> None:
    def prepare(stream: Any) -> None:
        stream.codec_context.color_primaries, stream.codec_context.color_trc = 9, 14
        stream.codec_context.colorspace = 9

    with pytest.warns(Note, match=r"BT\.2020"):
        read_mp4(encoded(tmp_path / "a.mp4", [CARD] * 2, prepare=prepare))


def test_frames_at_uneven_times_keep_their_times(tmp_path: Path) -> None:
    pts = [0, 1, 2, 7, 8, 20]
    path = encoded(tmp_path / "a.mp4", grays(6), pts)
    assert video_times(path)[0] == pytest.approx([p / 10 for p in pts])
    found = read_mp4_at(path, [0.71, 2.0, 0.0])
    assert [round(float(255 * image.mean())) for image in found] == pytest.approx([35, 45, 20], abs=1)
