"""Frames of different cameras never share a latent frame, and a group is given as a whole or not at all."""

import pytest
import torch

from geometry.errors import InputError
from tests.models.codec.test_vae import vae_of, video
from worldgen.models.codec.grouping import Grouping
from worldgen.models.codec.pixel import PixelCodec

RIG = torch.tensor([0, 1, 0, 1, 0, 1])  # two cameras in turn
TIME = torch.tensor([0, 0, 1, 1, 2, 2]) / 4


def test_cameras_in_turn_are_videos_of_their_own() -> None:
    grouping = Grouping.of(RIG, TIME, 2)
    assert grouping.videos == ((0, 2, 4), (1, 3, 5))
    assert grouping.latent_frames == ((0,), (2, 4), (1,), (3, 5))


def test_frames_come_in_the_order_of_time_however_they_are_stored() -> None:
    assert Grouping.of(torch.zeros(3).int(), torch.tensor([2.0, 0.0, 1.0]), 2).videos == ((1, 2, 0),)


def test_views_of_one_moment_each_stand_alone() -> None:
    assert Grouping.of(torch.zeros(3).int(), torch.zeros(3), 4).videos == ((0,), (1,), (2,))


def test_without_groups_every_frame_stands_alone_whatever_its_camera() -> None:
    assert Grouping.of(RIG, TIME, 1).latent_frames == ((0,), (1,), (2,), (3,), (4,), (5,))


def test_what_one_camera_sees_reaches_no_latent_frame_of_another() -> None:
    vae, grouping = vae_of(2), Grouping.of(RIG, TIME, 2)
    signals = video(6)
    latent = grouping.encode(vae, signals)
    other = signals["rgb"].clone()
    other[:, RIG == 1] = torch.rand_like(other[:, RIG == 1])
    assert torch.equal(grouping.encode(vae, signals | {"rgb": other})[:, :2], latent[:, :2])
    assert torch.allclose(latent[:, 2:], vae.encode({name: x[:, 1::2] for name, x in signals.items()}), atol=1e-6)


def test_decoding_puts_frames_back_in_their_order() -> None:
    vae, grouping = vae_of(2), Grouping.of(RIG, TIME, 2)
    signals = video(6)
    decoded = grouping.decode(vae, grouping.encode(vae, signals))
    for camera in (0, 1):
        own = vae.decode(vae.encode({name: x[:, camera == RIG] for name, x in signals.items()}))
        for name, alone in own.items():
            assert torch.allclose(decoded[name][:, camera == RIG], alone, atol=1e-6)


def test_a_codec_without_groups_is_used_as_it_is() -> None:
    codec, grouping = PixelCodec(4), Grouping.of(RIG, TIME, 1)
    signals = video(6)
    latent = grouping.encode(codec, signals)
    assert torch.equal(latent, codec.encode(signals))
    assert torch.equal(grouping.decode(codec, latent)["depth"], signals["depth"])


def test_the_level_of_a_group_is_that_of_its_frames() -> None:
    level = torch.tensor([0.0, 1, 0.5, 0.2, 0.5, 0.2])[:, None].expand(6, 2)
    assert Grouping.of(RIG, TIME, 2).levels(level)[:, 0].tolist() == pytest.approx([0, 0.5, 1, 0.2])


def test_a_partly_given_group_is_refused() -> None:
    level = torch.ones(6, 2)
    level[2, 0] = 0
    with pytest.raises(InputError, match=r"frames \[2, 4\] share a latent frame"):
        Grouping.of(RIG, TIME, 2).levels(level)


def test_a_video_that_does_not_fill_its_groups_is_refused() -> None:
    with pytest.raises(InputError, match="a video of 3 frames"):
        Grouping.of(RIG, TIME, 4)


@pytest.mark.parametrize("videos", [((0,), (0,)), ((0,), (2,))])
def test_a_frame_belongs_to_exactly_one_video(videos: tuple) -> None:
    with pytest.raises(InputError, match="exactly one"):
        Grouping(videos, 1)


def test_a_grouping_of_other_frames_or_another_codec_is_refused() -> None:
    with pytest.raises(InputError, match="5 frames"):
        Grouping.of(RIG, TIME, 1).encode(PixelCodec(4), video(5))
    with pytest.raises(InputError, match="groups of 1"):
        Grouping.of(RIG, TIME, 2).encode(PixelCodec(4), video(6))
