"""The baselines of a codec store as many numbers as it does, and the embedded one beats them."""

import pytest
import torch

from benchmarks.codec import bicubic, measure, table, training_videos
from worldgen.evaluation.codec import Video, clipped, held_out_videos, reconstructed, scores
from worldgen.models.codec.files import load_codec
from worldgen.models.codec.principal_components import patch_components
from worldgen.models.codec.vae import BranchConfig, ConvVAE, ConvVAEConfig


@pytest.fixture(scope="module")
def videos() -> Video:
    """Two held-out videos of three frames."""
    return held_out_videos("tabletop", 2, 3, 8.0, 16)


def small(group: int, rgb: int, depth: int) -> ConvVAE:
    branches = (BranchConfig(count, (4,), (0,), (0,)) for count in (rgb, depth))
    return ConvVAE(ConvVAEConfig(8, group, *branches)).requires_grad_(False)


def test_held_out_videos_are_not_of_the_training_series(videos: Video) -> None:
    assert not torch.allclose(training_videos("tabletop", 2, 3, 8.0, 16).clip.rgb, videos.clip.rgb)


@pytest.mark.parametrize("group", [1, 2])
def test_baselines_are_exact_when_they_may_store_everything(videos: Video, group: int) -> None:
    codec = small(group, 3 * 64 * group, 64 * group)
    shown = videos.signals
    linear = patch_components(codec, [shown])(shown)
    assert torch.allclose(linear["rgb"], shown["rgb"], atol=1e-4)
    assert torch.allclose(linear["depth"], shown["depth"], atol=1e-3)
    if group == 1:
        for name, kept in bicubic(codec)(shown).items():
            assert torch.allclose(kept, shown[name], atol=1e-5)


def test_a_baseline_with_fewer_numbers_keeps_less_and_the_table_shows_it(videos: Video) -> None:
    methods = {
        str(count): (lambda linear: lambda signals: clipped(linear(signals)))(
            patch_components(small(1, count, count), [videos.signals])
        )
        for count in (32, 8, 2)
    }
    results = measure({"bicubic": bicubic(small(1, 12, 4)), **methods}, {"tabletop": videos})
    psnr = [float(results["tabletop"][name]["psnr"].mean()) for name in methods]
    assert psnr[0] > psnr[1] > psnr[2]
    lines = table(results).markdown().splitlines()
    assert len(lines) == 2 + 2 * 4 and "| tabletop | 8 |" in lines[4]


def test_the_embedded_codec_beats_as_many_principal_components_on_videos_it_never_saw() -> None:
    vae, video = load_codec("vae"), held_out_videos("tabletop", 3, 2, 8.0, 64)
    trained = training_videos("tabletop", 6, 2, 8.0, 64)
    linear = patch_components(vae, [trained.signals])
    ours = scores(video, reconstructed(vae, video.signals))
    theirs = scores(video, clipped(linear(video.signals)))
    assert float((ours["psnr"] - theirs["psnr"]).mean()) > 0.3
    assert float(ours["abs_rel"].mean()) < float(theirs["abs_rel"].mean())
