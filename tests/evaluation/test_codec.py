"""Codecs are judged on films that training never sees, beside baselines of as many numbers."""

import pytest
import torch

from geometry.errors import InputError
from worldgen.benchmarks.codec import bicubic, measure, table, training_films
from worldgen.codecs import load_codec
from worldgen.evaluation.codec import Film, clipped, codec_sheet, held_out_films, scores, through
from worldgen.models.codec import PixelCodec
from worldgen.models.components import patch_components
from worldgen.models.vae import BranchConfig, ConvVAE, ConvVAEConfig


@pytest.fixture(scope="module")
def films() -> Film:
    """Two held-out films of three frames."""
    return held_out_films("tabletop", 2, 3, 8.0, 16)


def small(group: int, rgb: int, depth: int) -> ConvVAE:
    branches = (BranchConfig(count, (4,), (0,), (0,)) for count in (rgb, depth))
    return ConvVAE(ConvVAEConfig(8, group, *branches)).requires_grad_(False)


def test_held_out_films_are_of_one_camera_in_the_order_of_time_and_not_of_the_training_series(films: Film) -> None:
    cameras = films.clip.cameras
    assert cameras.shape == (2, 3)
    assert bool((cameras.view == cameras.view[:, :1]).all()) and bool((cameras.time_s.diff(dim=-1) > 0).all())
    assert not torch.allclose(training_films("tabletop", 2, 3, 8.0, 16).clip.rgb, films.clip.rgb)


def test_too_few_films_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldgen.evaluation.codec._SEARCHED", 0)
    with pytest.raises(InputError, match="0 films among 0 scenes of tabletop"):
        held_out_films("tabletop", 1, 2, 8.0, 16)


def test_a_codec_that_loses_nothing_has_no_error(films: Film) -> None:
    kept = scores(films, through(PixelCodec(8), films.signals))
    assert bool((kept["psnr"] > 100).all()) and bool((kept["abs_rel"] < 1e-4).all())
    assert bool((kept["ssim"] > 0.9999).all()) and bool((kept["delta"] == 1).all())


def test_a_sheet_has_a_row_a_film_and_five_pictures_each(films: Film) -> None:
    assert codec_sheet(PixelCodec(8), {"tabletop": films}).shape == (3, 2 * 36 - 4, 5 * 36 - 4)


@pytest.mark.parametrize("group", [1, 2])
def test_baselines_are_exact_when_they_may_store_everything(films: Film, group: int) -> None:
    codec = small(group, 3 * 64 * group, 64 * group)
    shown = films.signals
    linear = patch_components(codec, [shown])(shown)
    assert torch.allclose(linear["rgb"], shown["rgb"], atol=1e-4)
    assert torch.allclose(linear["depth"], shown["depth"], atol=1e-3)
    if group == 1:
        for name, kept in bicubic(codec)(shown).items():
            assert torch.allclose(kept, shown[name], atol=1e-5)


def test_a_baseline_with_fewer_numbers_keeps_less_and_the_table_says_so(films: Film) -> None:
    methods = {
        str(count): (lambda linear: lambda signals: clipped(linear(signals)))(
            patch_components(small(1, count, count), [films.signals])
        )
        for count in (32, 8, 2)
    }
    results = measure({"bicubic": bicubic(small(1, 12, 4)), **methods}, {"tabletop": films})
    psnr = [float(results["tabletop"][name]["psnr"].mean()) for name in methods]
    assert psnr[0] > psnr[1] > psnr[2]
    lines = table(results).splitlines()
    assert len(lines) == 2 + 2 * 4 and "| tabletop | 8 |" in lines[4]


def test_the_embedded_codec_beats_as_many_principal_components_on_films_it_never_saw() -> None:
    vae, film = load_codec("vae"), held_out_films("tabletop", 3, 2, 8.0, 64)
    trained = training_films("tabletop", 6, 2, 8.0, 64)
    linear = patch_components(vae, [trained.signals])
    ours = scores(film, through(vae, film.signals))
    theirs = scores(film, clipped(linear(film.signals)))
    assert float((ours["psnr"] - theirs["psnr"]).mean()) > 0.3
    assert float(ours["abs_rel"].mean()) < float(theirs["abs_rel"].mean())
