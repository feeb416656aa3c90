"""Any mode from a clip and a matrix of levels."""

from typing import Any

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.trajectory.paths import orbit
from worldgen.core.clip import Clip
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.generation import generate
from worldgen.pipelines.novel_views import Sampling, generate_views
from worldgen.sampling.denoiser import FunctionDenoiser
from worldgen.sampling.guidance import Guidance
from worldgen.sampling.levels import Levels
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render

F = 3


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return WorldModel.load("tiny")


@pytest.fixture(scope="module")
def clip() -> Clip:
    cameras = Cameras.from_fov(orbit(torch.tensor([0.0, 0.0, 0.25]), 3.3, 28.0, 40)[:F], 52.0, (64, 64))
    return render(tabletop(0, [3], held_out=True), cameras[None])


def known(*columns: tuple[int, int]) -> torch.Tensor:
    given = torch.zeros(F, 2, dtype=torch.bool)
    for frame, modality in columns:
        given[frame, modality] = True
    return given


def test_what_is_given_comes_back_as_it_was_and_the_rest_is_made(model: WorldModel, clip: Clip) -> None:
    made = generate(model, clip, Levels.given(known((0, 0), (1, 0), (1, 1)), 2))
    assert torch.equal(made.rgb[:, :2], clip.rgb[:, :2]) and torch.equal(made.depth[:, 1], clip.depth[:, 1])
    assert not torch.equal(made.rgb[:, 2], clip.rgb[:, 2]) and not torch.equal(made.depth[:, 0], clip.depth[:, 0])


def test_unknown_columns_may_hold_anything(model: WorldModel, clip: Clip) -> None:
    levels = Levels.given(known((0, 0)), 2)
    other = Clip(clip.rgb.clone(), torch.rand_like(clip.depth), clip.cameras)
    other.rgb[:, 1:] = torch.nan
    scale = torch.tensor([3.0])
    first, second = (generate(model, c, levels, scale=scale) for c in (clip, other))
    assert torch.equal(first.rgb, second.rgb) and torch.equal(first.depth, second.depth)


def test_new_views_are_one_of_the_modes(model: WorldModel, clip: Clip) -> None:
    scale = torch.tensor([3.0])
    start = Clip(clip.rgb[:, :1], torch.zeros_like(clip.depth[:, :1]), clip.cameras[:, :1])
    views = generate_views(model, start, clip.cameras[:, 1:], scale, Sampling(steps=2, guidance=2.0, seed=4))
    levels = Levels.given(known((0, 0)), 2)
    made = generate(model, clip, levels, scale=scale, guidance=Guidance(image=2.0), seed=4)
    assert torch.allclose(views.rgb, made.rgb, atol=1e-5) and torch.allclose(views.depth, made.depth, rtol=1e-4)


def test_depth_that_never_comes_into_being_is_unknown(model: WorldModel, clip: Clip) -> None:
    levels = Levels.given(known((0, 0)), 1)
    matrix = levels.matrix.clone()
    matrix[:, :, 1] = 1
    assert bool((generate(model, clip, Levels(matrix)).depth == 0).all())


def test_every_solver_makes_images_and_the_seed_decides_which(model: WorldModel, clip: Clip) -> None:
    levels = Levels.given(known((0, 0)), 2)
    for solver in ("ddpm", "unipc", "dpm++2m", "heun"):
        one, again, other = (generate(model, clip, levels, solver=solver, seed=seed).rgb for seed in (1, 1, 2))
        assert torch.equal(one, again) and not torch.equal(one, other), solver


def test_steps_can_be_watched_and_the_denoiser_wrapped(model: WorldModel, clip: Clip) -> None:
    rows, asked = [], []

    def wrap(denoiser, conditioning):
        def counted(x, level, conditioning):
            asked.append(x.shape)
            return denoiser(x, level, conditioning)

        return FunctionDenoiser.like(denoiser, counted)

    generate(model, clip, Levels.given(known((0, 0)), 2), wrap=wrap, on_step=lambda state: rows.append(state.row))
    assert rows == [1, 2] and len(asked) == 2


def test_levels_and_solvers_that_do_not_fit_are_refused(model: WorldModel, clip: Clip) -> None:
    with pytest.raises(InputError, match=r"levels of 4 frames and 2 modalities; expected 3 and 2 \(rgb, depth\)"):
        generate(model, clip, Levels.full_sequence(4, 2, 2))
    with pytest.raises(InputError, match="solver 'magic'; expected one of euler"):
        generate(model, clip, Levels.full_sequence(F, 2, 2), solver="magic")
    cases: list[dict[str, Any]] = [
        {"frame_ids": [0]}, {"clip_ids": [0, 1]}, {"scale": torch.zeros(1)}, {"scale": torch.ones(2)},
    ]  # fmt: skip
    for wrong in cases:
        with pytest.raises(InputError, match="expected"):
            generate(model, clip, Levels.full_sequence(F, 2, 2), **wrong)
    with pytest.raises(InputError, match="batch of clips"):
        generate(model, clip[0], Levels.full_sequence(F, 2, 2))


def test_clips_of_a_batch_are_what_they_are_alone(model: WorldModel, clip: Clip) -> None:
    """Each clip has its own number, and with it its own noise, whatever stands beside it."""
    scale = torch.tensor([3.0])
    levels = Levels.keyframes(F, 2, 2, (2,), known((0, 0)))
    both = Clip(
        clip.rgb.repeat(2, 1, 1, 1, 1),
        clip.depth.repeat(2, 1, 1, 1, 1),
        Cameras.cat([clip.cameras[0]] * 2).reshape(2, F),
    )
    together = generate(model, both, levels, scale=scale.expand(2), solver="unipc")
    alone = generate(model, clip, levels, scale=scale, solver="unipc")
    assert torch.allclose(together.rgb[:1], alone.rgb, atol=1e-5)
    assert not torch.allclose(together.rgb[1:], alone.rgb, atol=1e-2)
    second = generate(model, clip, levels, scale=scale, solver="unipc", clip_ids=[1])
    assert torch.allclose(together.rgb[1:], second.rgb, atol=1e-5)
