"""MP4 files, with colors that survive the round trip.

Written files have a constant frame rate and yuv420p, converted with the BT.709 matrix to limited ("tv") range and
tagged so. Chroma is sited at the left of each 2x2 block, as H.264 assumes. One thread and no B-frames: equal frames
give equal bytes.

What is read is what a player shows: edit lists, orientation (turned or mirrored) and pixels that are not square are
honored, cover art is no video, and HDR is refused by name.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from geometry.errors import InputError, note
from geometry.image.coercion import FramesLike, as_frames
from geometry.io.files import check_file, replacing
from geometry.shapes import Float, UInt8

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

_KR, _KB = 0.2126, 0.0722  # luma weights of ITU-R BT.709, section 3
_BT709, _UNSPECIFIED, _BT601, _TV_RANGE = 1, 2, 5, 1  # code points of ITU-T H.273
_HDR = {16: "PQ, SMPTE ST 2084", 18: "HLG, ARIB STD-B67"}  # transfers of H.273 that are not for an SDR screen
_BT2020 = 9
_MAX_SIDE = 16384


def write_mp4(path: Path | str, rgb: FramesLike, fps: float, scale: int = 1, codec: str | None = None) -> None:
    """Write an MP4; odd sizes are padded to even ones by repeating the last row or column.

    Args:
        path: the file.
        rgb: f frames, sRGB in 0..1 [f, 3, h, w], or what else `geometry.as_frames` takes; clamped.
        fps: frames per second.
        scale: repeats each pixel this often along both axes, so that small frames can be looked at.
        codec: an encoder's name; by default libx264, or mpeg4 where that is missing.

    Raises:
        InputError: as `geometry.as_frames` raises it, no frames, a rate or scale that is not positive, or an encoder
            that is missing.
    """
    import av

    path = Path(path)
    rgb = as_frames(rgb, f"{path}: frames").detach()
    if not len(rgb):
        raise InputError(f"{path}: 0 frames; expected at least one")
    low, high = rgb.aminmax()
    if not 0 < fps <= 1000 or scale < 1:
        raise InputError(f"{path}: {fps} frames per second at scale {scale}; expected fps in (0, 1000], scale >= 1")
    name = codec or ("libx264" if "libx264" in av.codecs_available else "mpeg4")
    if name not in av.codecs_available:
        raise InputError(f"{path}: no encoder {name} in this PyAV; expected libx264 or mpeg4")
    height, width = (side * scale + side * scale % 2 for side in rgb.shape[-2:])
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream(name, rate=Fraction(fps).limit_denominator(100_000))
        if not isinstance(stream, av.VideoStream):
            raise InputError(f"{path}: encoder {name}; expected one for video")
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.thread_count, context.max_b_frames = 1, 0
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _TV_RANGE
        if name == "libx264":
            context.options = {"crf": "14", "preset": "medium"}
        else:
            context.bit_rate = max(400_000, int(height * width * fps))
        inside = bool((low >= 0) & (high <= 1))
        for index, image in enumerate(rgb):
            planes = _yuv420(image if inside else image.clamp(0, 1), scale)
            frame = av.VideoFrame.from_ndarray(planes.numpy(), format="yuv420p")
            frame.colorspace, frame.color_range, frame.pts = _BT709, _TV_RANGE, index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def read_mp4(path: Path | str, max_frames: int = 4096) -> Float[torch.Tensor, "f 3 h w"]:
    """Read all frames of a video, as a player shows them: `video_times` says when.

    Frames that an edit list hides are left out. Images are turned and mirrored as the file says; pixels that are not
    square are resampled to square ones along the axis that becomes longer, with a note. The matrix and range the file
    states are used; unspecified means BT.709 from 720 lines up, BT.601 below, tv range.

    Args:
        path: a video; its first video stream that is not cover art is read.
        max_frames: limit of the number of frames.

    Returns:
        sRGB in 0..1, float32.

    Raises:
        InputError: the file is missing, empty, truncated, not a video, HDR (PQ or HLG), turned by other than quarter
            turns, or has more frames.
    """
    path = Path(path)
    frames: list[torch.Tensor] = []
    for frame in _frames(path):
        if len(frames) == max_frames:
            raise InputError(f"{path}: more than {max_frames} frames; expected a shorter video")
        frames.append(torch.from_numpy(frame.rgb24(path)))
    return torch.stack(frames).movedim(-1, 1).contiguous().float() / 255


def video_times(path: Path, max_frames: int = 10**6) -> tuple[list[float], tuple[int, int]]:
    """When each frame of a video is shown, at whatever rate, and the size of the frames as `read_mp4` gives them.

    Args:
        path: a video.
        max_frames: limit of the number of frames.

    Returns:
        Seconds from the first frame, and (height, width) in pixels.

    Raises:
        InputError: as `read_mp4` raises it.
    """
    times: list[float] = []
    hw = (0, 0)
    for frame in _frames(path):
        if len(times) == max_frames:
            raise InputError(f"{path}: more than {max_frames} frames; expected a shorter video")
        hw = frame.hw
        times.append(frame.time_s)
    return times, hw


def read_mp4_at(path: Path | str, times_s: Sequence[float]) -> list[Float[torch.Tensor, "3 h w"]]:
    """Read the frames shown at given times, in one pass over the video.

    Args:
        path: a video.
        times_s: seconds from the first frame; the frame whose time is nearest is taken.

    Returns:
        A frame for each time, sRGB in 0..1, float32.

    Raises:
        InputError: no frame within 0.1 s of a time, and as `read_mp4` raises it.
    """
    path = Path(path)
    if not all(math.isfinite(t) for t in times_s):
        raise InputError(f"{path}: times {list(times_s)}; expected finite seconds")
    nearest: list[tuple[float, torch.Tensor | None]] = [(math.inf, None)] * len(times_s)
    for frame in _frames(path):
        time_s = frame.time_s
        wanted = [i for i, t in enumerate(times_s) if abs(time_s - t) < nearest[i][0]]
        if wanted:
            image = torch.from_numpy(frame.rgb24(path)).movedim(-1, 0)
            for i in wanted:
                nearest[i] = (abs(time_s - times_s[i]), image)
        if time_s > max(times_s, default=0) + 0.1:
            break
    for t, (distance, _) in zip(times_s, nearest):
        if distance > 0.1:
            raise InputError(f"{path}: no frame at {t:.3f} s; expected one within 0.1 s")
    return [image.contiguous().float() / 255 for _, image in nearest if image is not None]


@dataclass(frozen=True)
class _Frame:
    """A decoded frame, when it is shown, and how: the ratio of a pixel's width to its height, and the orientation.

    turned   (swap, left_right, up_down): the axes are swapped, then each is flipped
    """

    time_s: float
    decoded: "av.VideoFrame"
    pixel_aspect: Fraction
    turned: tuple[bool, bool, bool]

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width as it is shown."""
        height, width = self.square_hw()
        return (width, height) if self.turned[0] else (height, width)

    def square_hw(self) -> tuple[int, int]:
        """Height and width in square pixels, before it is turned."""
        height, width, aspect = self.decoded.height, self.decoded.width, self.pixel_aspect
        return (height, round(width * aspect)) if aspect >= 1 else (round(height / aspect), width)

    def rgb24(self, path: Path) -> UInt8[np.ndarray, "h w 3"]:
        """The image, converted by the matrix and range the frame states, in square pixels, upright."""
        from av.video.reformatter import ColorRange, Interpolation

        frame = self.decoded
        if frame.colorspace == _UNSPECIFIED:
            frame.colorspace = _BT709 if frame.height >= 720 else _BT601
        exactly = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        height, width = self.square_hw()
        try:
            image = frame.reformat(
                width, height, format="rgb24", dst_color_range=ColorRange.JPEG, interpolation=exactly, threads=1
            ).to_ndarray()
        except Exception as error:
            raise InputError(f"{path}: a frame has no colors ({type(error).__name__}); expected a video") from error
        swap, left_right, up_down = self.turned
        image = image.swapaxes(0, 1) if swap else image
        image = image[:, ::-1] if left_right else image
        return (image[::-1] if up_down else image).copy()


def _frames(path: Path) -> Iterator[_Frame]:
    """The frames of the first video stream that is not cover art, with their times in seconds from the first one.

    Whatever the decoder raises is the file's fault, and so is an end before the number of frames that the file states.
    """
    import av

    check_file(path, "a video")
    count, shown, start = 0, 0, None
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            stream = _video_stream(container, path)
            for packet in container.demux(stream):
                shown += packet.size > 0 and not packet.is_discard
                for frame in packet.decode():
                    time_s = float(frame.time) if frame.time is not None else count / float(stream.average_rate or 25)
                    start = time_s if start is None else start
                    aspect = stream.sample_aspect_ratio or Fraction(1)
                    if count == 0:
                        _tell_how_it_is_shown(frame, aspect, path)
                    count += 1
                    yield _Frame(time_s - start, frame, aspect, _turned(frame, path))
            hidden = 0 < count < stream.frames and shown <= count and _packets(path, stream.index) == stream.frames
            if count == 0 or (count < stream.frames and not hidden):
                raise InputError(f"{path}: {count} of {stream.frames} frames can be read; expected a complete video")
    except InputError:
        raise
    except Exception as error:  # a broken file can raise nearly anything
        raise InputError(f"{path}: not a readable video ({type(error).__name__}); expected a complete MP4") from error


def _video_stream(container: "InputContainer", path: Path) -> "av.VideoStream":
    """The stream that players show."""
    from av.stream import Disposition

    found = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not found:
        others = f"{len(container.streams.video)} attached pictures and {len(container.streams.audio)} audio streams"
        raise InputError(f"{path}: no video stream ({others}); expected a video")
    if len(found) > 1:
        note(f"{path}: {len(found)} video streams; the first is read")
    if max(found[0].width, found[0].height) > _MAX_SIDE:
        raise InputError(f"{path}: {found[0].width}x{found[0].height} pixels; expected sides up to {_MAX_SIDE}")
    return found[0]


def _packets(path: Path, index: int) -> int:
    """How many packets of a stream the file holds, those that an edit list hides among them."""
    import av

    with av.open(str(path), metadata_errors="ignore", options={"ignore_editlist": "1"}) as container:
        return sum(packet.size > 0 and not packet.is_corrupt for packet in container.demux(container.streams[index]))


def _tell_how_it_is_shown(frame: "av.VideoFrame", pixel_aspect: Fraction, path: Path) -> None:
    """Notes of what is converted. Raises InputError for what is not: HDR, and pixels of a shape that is none."""
    if (transfer := int(frame.color_trc)) in _HDR:
        expected = "SDR (convert it first, such as by ffmpeg's zscale and tonemap)"
        raise InputError(f"{path}: an HDR video ({_HDR[transfer]}); expected {expected}")
    if int(frame.color_primaries) == _BT2020:
        note(f"{path}: primaries of BT.2020 are taken as those of BT.709: saturated colors are paler than they were")
    if pixel_aspect != 1:
        if not 0.1 < pixel_aspect < 10:
            raise InputError(f"{path}: pixels {pixel_aspect} times as wide as high; expected 0.1 to 10")
        note(f"{path}: pixels {pixel_aspect} times as wide as high are resampled to square ones")
    if frame.interlaced_frame:
        note(f"{path}: interlaced; both fields are taken as one image")


def _turned(frame: "av.VideoFrame", path: Path) -> tuple[bool, bool, bool]:
    """Whether axes are swapped, then left and right, then up and down, by the display matrix.

    It maps (x, y) to (a x + c y, b x + d y), its entries being a b u, c d v, ... of ISO 14496-12, section 6.2.2.
    """
    sides: Any = frame.side_data.keys()  # the entries themselves, whatever its type hints say
    matrix = next((bytes(side) for side in sides if side.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].astype(np.float64) / 2**16
    swap = abs(b) + abs(c) > abs(a) + abs(d)
    large, small = ((b, c), (a, d)) if swap else ((a, d), (b, c))
    if max(map(abs, small)) > 0.02 * min(map(abs, large)):
        raise InputError(f"{path}: to be shown turned by {frame.rotation} degrees; expected quarter turns")
    return (True, bool(c < 0), bool(b < 0)) if swap else (False, bool(a < 0), bool(d < 0))


def _yuv420(rgb: Float[torch.Tensor, "3 h w"], scale: int) -> UInt8[torch.Tensor, "rows w2"]:
    """One frame as the planes Y, U, V one below the other (BT.709, 8 bits, limited range, chroma at the left)."""
    rgb = rgb.cpu()
    if scale > 1:
        rgb = rgb.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
    if rgb.shape[-1] % 2 or rgb.shape[-2] % 2:
        rgb = torch.nn.functional.pad(rgb[None], (0, rgb.shape[-1] % 2, 0, rgb.shape[-2] % 2), mode="replicate")[0]
    luma = torch.tensor([_KR, 1 - _KR - _KB, _KB])
    y = (219 * luma @ rgb.flatten(1)).add_(16.5).to(torch.uint8)
    # All of it is linear, so the two rows of each block and the three columns around its left edge are weighted first.
    rows = rgb[:, 0::2] + rgb[:, 1::2]
    middle, right = rows[..., 0::2], rows[..., 1::2]
    left = torch.cat([rows[..., :1], right[..., :-1]], -1)
    around = torch.add(left + right, middle, alpha=2).flatten(1) / 8
    blue, red = (torch.tensor(axis) - luma for axis in ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0)))
    weights = torch.stack([blue / (2 - 2 * _KB), red / (2 - 2 * _KR)])  # chroma in -0.5..0.5
    uv = (224 * weights @ around).add_(128.5).to(torch.uint8).flatten()
    return torch.cat([y, uv]).view(-1, rgb.shape[-1])
