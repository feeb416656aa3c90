"""Codecs are measured on videos that training never has."""

import pytest

from geometry.errors import InputError
from worldgen.evaluation.codec import Video, codec_sheet, held_out_videos, reconstructed, scores
from worldgen.models.codec.pixel import PixelCodec


@pytest.fixture(scope="module")
def videos() -> Video:
    """Two held-out videos of three frames."""
    return held_out_videos("tabletop", 2, 3, 8.0, 16)


def test_held_out_videos_are_of_one_camera_in_the_order_of_time(videos: Video) -> None:
    cameras = videos.clip.cameras
    assert cameras.shape == (2, 3)
    assert bool((cameras.view == cameras.view[:, :1]).all()) and bool((cameras.time_s.diff(dim=-1) > 0).all())


def test_too_few_videos_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldgen.evaluation.codec._SEARCHED", 0)
    with pytest.raises(InputError, match="0 videos among 0 scenes of tabletop"):
        held_out_videos("tabletop", 1, 2, 8.0, 16)


def test_a_codec_that_loses_nothing_has_no_error(videos: Video) -> None:
    kept = scores(videos, reconstructed(PixelCodec(8), videos.signals))
    assert bool((kept["psnr"] > 100).all()) and bool((kept["abs_rel"] < 1e-4).all())
    assert bool((kept["ssim"] > 0.9999).all()) and bool((kept["delta"] == 1).all())


def test_a_sheet_has_a_row_a_video_and_five_images_each(videos: Video) -> None:
    assert codec_sheet(PixelCodec(8), {"tabletop": videos}).shape == (3, 2 * 36 - 4, 5 * 36 - 4)
