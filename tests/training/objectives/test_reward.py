"""Fine-tuning on agreement: what the reward likes, where its gradient goes, and that a run follows it, resumably."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.image.multiview import agreement
from tests.models.tiny import awake, tiny_model
from tests.training.engine.test_trainer import assert_same_state, trained
from worldgen.core.clip import Clip
from worldgen.core.normalization import scene_scale
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling, generate_views
from worldgen.sampling.noise import keyed_noise
from worldgen.scenes.cameras.viewpoints import NUMBERS, ring
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render
from worldgen.training.batches.batch import Batch
from worldgen.training.batches.task_sampling import Tasks
from worldgen.training.config.objectives import RewardConfig
from worldgen.training.config.run import RunConfig
from worldgen.training.engine.trainer import Trainer
from worldgen.training.objectives.objective import Objective
from worldgen.training.objectives.reward import sampled_reward
from worldgen.training.objectives.term import Progress
from worldgen.training.objectives.terms import build_terms


def scenes(count: int, frames: int, side: int, spread_deg: float = 30.0) -> Clip:
    """Tabletops, seen from an arc."""
    draw = torch.Generator().manual_seed(1)
    per_scene, per_frame = (torch.rand(*shape, NUMBERS, generator=draw) for shape in ((count,), (count, frames)))
    cameras = ring(per_scene, per_frame, torch.full((count,), spread_deg), (side, side))
    return render(tabletop(5, list(range(count)), held_out=False), cameras)


@pytest.fixture(scope="module")
def truth() -> Clip:
    """Four views of six scenes, the first two of which count as given."""
    return scenes(6, 4, 48)


def reward_of(clip: Clip, rgb: Tensor | None = None, inverse: Tensor | None = None, cameras: Cameras | None = None):
    """The agreement of the frames with some of them exchanged, scene by scene."""
    scale = scene_scale(clip)
    mine = scale[:, None, None, None, None] / clip.depth
    shown = (clip.cameras if cameras is None else cameras).scaled(1 / scale[:, None])
    return agreement(clip.rgb if rgb is None else rgb, mine if inverse is None else inverse, shown)


def test_the_truth_scores_more_than_every_way_to_be_wrong(truth: Clip) -> None:
    inverse = scene_scale(truth)[:, None, None, None, None] / truth.depth
    gray, far = truth.rgb.clone(), inverse.clone()
    gray[:, 2:], far[:, 2:] = 0.5, 0.0
    others = torch.cat([truth.rgb[:, :2], truth.rgb.roll(1, 0)[:, 2:]], 1)
    blurred = torch.nn.functional.avg_pool2d(truth.rgb.flatten(0, 1), 5, 1, 2, count_include_pad=False)
    blurred = torch.cat([truth.rgb[:, :2], blurred.view_as(truth.rgb)[:, 2:]], 1)
    best = reward_of(truth)
    assert best.mean() > 0.6
    wrong = {
        "depth a fifth too far": reward_of(truth, inverse=inverse / 1.2),
        "depth of another scene": reward_of(truth, inverse=inverse.roll(1, 0)),
        "one depth everywhere": reward_of(truth, inverse=torch.ones_like(inverse)),
        "colors of another scene": reward_of(truth, rgb=others),
        "blurred": reward_of(truth, rgb=blurred),
        "exchanged cameras": reward_of(truth, cameras=truth.cameras[:, [0, 1, 3, 2]]),
        "grey": reward_of(truth, rgb=gray),
        "gray and infinitely far": reward_of(truth, rgb=gray, inverse=far),
        "everything infinitely far": reward_of(truth, rgb=gray, inverse=0 * inverse),
        "everything at the cameras": reward_of(truth, inverse=torch.full_like(inverse, 100.0)),
    }
    margins = {name: float((best - value).mean()) for name, value in wrong.items()}
    assert min(margins.values()) > 0.01, margins


@pytest.fixture
def model() -> WorldModel:
    made = WorldModel.create(tiny_model())
    awake(made.network, 0.05).requires_grad_(True)
    return made


def batch(clip: Clip, noise: Tensor, jitter: float = 1.0) -> Batch:
    """Clips with all depth, and all images but the first, to predict."""
    count, frames = clip.cameras.shape
    level = torch.ones(count, frames, 2)
    level[:, 0, 0] = 0
    yes, order = torch.ones(count, dtype=torch.bool), torch.zeros(count, frames, dtype=torch.long)
    tasks = Tasks(torch.arange(frames).expand(count, frames), level, order, yes, yes, ~yes, torch.zeros(count, 5))
    return Batch(clip, ("",) * count, tasks, noise, torch.full((count,), jitter))


@pytest.mark.parametrize("steps", [1, 3])
def test_what_is_rewarded_is_what_the_pipeline_generates(model: WorldModel, steps: int) -> None:
    clip = scenes(2, 3, 16)
    noise = torch.cat([keyed_noise(4, [0, 1, 2], model.channels, (4, 4), b) for b in range(2)])
    got = sampled_reward(model, batch(clip, noise, 1.05), RewardConfig(given=2, steps=steps))
    scale = 1.05 * scene_scale(clip)
    known = Clip(clip.rgb[:, :2], torch.zeros_like(clip.depth[:, :2]), clip.cameras[:, :2])
    made = generate_views(model, known, clip.cameras[:, 2:], scale, Sampling(steps, 1.0, seed=4))
    inverse = scale[:, None, None, None, None] / made.depth
    wanted = agreement(made.rgb, inverse, clip.cameras.scaled(1 / scale[:, None]))
    assert torch.allclose(got.detach(), wanted, atol=1e-4) and float((wanted[0] - wanted[1]).abs()) > 1e-3


def test_neither_true_depth_nor_the_true_new_images_matter(model: WorldModel) -> None:
    clip, noise = scenes(2, 3, 16), torch.randn(2, 3, 64, 4, 4)
    other = replace(clip, depth=3 * clip.depth, rgb=torch.cat([clip.rgb[:, :1], 1 - clip.rgb[:, 1:]], 1))
    first, second = (sampled_reward(model, batch(c, noise), RewardConfig(given=1)) for c in (clip, other))
    assert torch.equal(first, second)


def test_the_gradient_reaches_every_weight_through_as_many_of_the_last_steps_as_configured(model: WorldModel) -> None:
    requests = batch(scenes(2, 3, 16), torch.randn(2, 3, 64, 4, 4))
    calls: list[bool] = []
    model.network.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    found = []
    for last in (1, 3):
        calls.clear()
        model.network.zero_grad()
        reward = sampled_reward(model, requests, RewardConfig(given=1, steps=3, last=last)).mean()
        reward.backward()
        assert calls == [False] * (3 - last) + [True] * last
        gradients = [parameter.grad.clone() for parameter in model.network.parameters() if parameter.grad is not None]
        assert len(gradients) == len(list(model.network.parameters()))
        assert all(bool(g.isfinite().all()) and bool(g.any()) for g in gradients)
        found.append((reward.item(), torch.cat([g.flatten() for g in gradients])))
    assert found[0][0] == found[1][0] and not torch.allclose(found[0][1], found[1][1], rtol=0.1)


def test_a_step_along_the_gradient_raises_the_reward(model: WorldModel) -> None:
    requests = batch(scenes(2, 3, 16), torch.randn(2, 3, 64, 4, 4))
    config = RewardConfig(given=1, steps=2, last=2)
    before = sampled_reward(model, requests, config).mean()
    before.backward()
    with torch.no_grad():
        gradients = [parameter.grad for parameter in model.network.parameters()]
        size = sum(float(g.square().sum()) for g in gradients if g is not None)
        for parameter, gradient in zip(model.network.parameters(), gradients):
            assert gradient is not None
            parameter += 1e-4 / size * gradient
        rise = float(sampled_reward(model, requests, config).mean() - before)
    assert 1e-5 < rise < 1e-3  # not the whole gradient: depths that agree with each other are held


def test_the_total_is_the_ordinary_loss_and_what_is_missing_to_the_reward(model: WorldModel, run_of) -> None:
    requests = batch(scenes(2, 3, 16), torch.randn(2, 3, 64, 4, 4))
    without = run_of()
    with_reward = replace(run_of(), reward=RewardConfig(weight=0.7, given=1))
    (plain, few), (total, parts) = (
        Objective(model, build_terms(model, run))(requests, Progress()) for run in (without, with_reward)
    )
    assert [*few, "reward"] == [*parts]
    assert float(total) == pytest.approx(float(plain) + 0.7 * (1 - float(parts["reward"])), rel=1e-5)


@pytest.fixture
def rewarded(run_of) -> Callable[..., RunConfig]:
    """A run of seconds with a reward."""

    two_steps = RewardConfig(steps=2)

    def make(name: str = "run", reward: RewardConfig | None = two_steps, **train) -> RunConfig:
        return replace(run_of(name, **{"frames": (3,), **train}), reward=reward)

    return make


def test_a_run_with_a_reward_ends_with_more_of_it_than_the_same_run_without(rewarded) -> None:
    ends = []
    for name, reward in (("with", RewardConfig(weight=20.0, steps=2)), ("without", None)):
        config = rewarded(name, reward, steps=30, learning_rate=1e-3)
        config = replace(config, data=replace(config.data, pool=1, reuse=1000, spreads_deg=((5.0, 25.0),)))
        trainer = Trainer(config)
        for _ in trainer.steps():
            pass
        with torch.no_grad():
            ends.append(
                float(sampled_reward(trainer.model, trainer.batches.at(trainer.step), RewardConfig(steps=2)).mean())
            )
    assert ends[0] > ends[1] + 0.01, ends


def test_stopping_and_resuming_is_training_without_a_stop_bit_for_bit(rewarded) -> None:
    whole = trained(rewarded("whole"))
    trained(rewarded("parts"), steps=3)
    parts = trained(rewarded("parts"))
    assert_same_state(whole.checkpoint_path, parts.checkpoint_path)
    without = trained(rewarded("without", reward=None))
    names = whole.model.state()
    assert any(not torch.equal(value, names[name]) for name, value in without.model.state().items())
    with pytest.raises(InputError, match="another configuration"):
        Trainer(rewarded("whole", reward=RewardConfig(weight=2.0, steps=2)))


@pytest.mark.parametrize(
    "values", [{"weight": 0.0}, {"weight": float("nan")}, {"given": 0}, {"last": 0}, {"steps": 2, "last": 3}]
)
def test_an_impossible_reward_is_refused(values: dict) -> None:
    with pytest.raises(InputError, match="expected a weight above 0"):
        RewardConfig(**values)


def test_a_reward_of_clips_with_nothing_to_sample_is_refused(rewarded) -> None:
    with pytest.raises(InputError, match=r"train\.frames \[2, 3\]; expected more than the 2 of reward\.given"):
        rewarded(frames=(2, 3))


def test_the_run_of_the_repository_is_the_embedded_model_s_with_a_reward(root: Path) -> None:
    from worldgen.runtime.config import load

    config, start = load(RunConfig, root / "configs" / "reward.yaml"), WorldModel.load("tiny").config
    assert config.reward is not None and config.train.start_from == "tiny"
    assert replace(config.model, name=start.name) == start
