"""The held-out set, and the evaluation from end to end with a random model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.image.multiview import agreement
from tests.models.network.unet.small import small_model
from tests.models.tiny import tiny_model
from tests.runtime.told import Told, assert_whole
from worldgen.core.clip import Clip
from worldgen.core.normalization import scene_scale_from_cameras
from worldgen.evaluation import predictions as predictions
from worldgen.evaluation.baselines import BLIND, ORACLES, seen
from worldgen.evaluation.comparison import SpatialMetrics
from worldgen.evaluation.metrics.consistency import OTHERS, TRUE
from worldgen.evaluation.metrics.control import DEGRADED, FLOOR
from worldgen.evaluation.metrics.intervals import Figure, Interval
from worldgen.evaluation.metrics.loops import STEPS
from worldgen.evaluation.metrics.perceptual import has_flip
from worldgen.evaluation.predictions import FULL, ONE, Prediction, scores
from worldgen.evaluation.run import evaluate
from worldgen.evaluation.sets.orbit import OrbitSet
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import ONE_CALL, Sampling
from worldgen.runtime.config import load
from worldgen.runtime.rng import Stream, stream
from worldgen.scenes.families.tabletop import tabletop

SMALL = OrbitSet("tabletop", 0, 2, 16, 1, (1, 2), 2, {"narrow": 14.0, "full": 180.0})
TWO_STEPS = Sampling(steps=2)
# Of scenes 0 and 1 of the reports' medium spread, first and last frame: camera centers, then mean colors.
MARKS = [-3.7239, 0.2577, 1.6170, -2.2475, -2.7896, 1.4503, 0.1463, 1.8832, 1.9288, 1.7635, 1.1238, 2.1992]
MARKS += [0.7116, 0.8149, 0.6972, 0.7078, 0.8172, 0.6978, 0.5352, 0.3882, 0.4266, 0.6057, 0.4373, 0.4860]


@pytest.fixture(scope="module")
def frozen(root: Path) -> OrbitSet:
    """The set of every report."""
    return load(OrbitSet, root / "configs" / "evaluate_orbit.yaml")


def test_the_set_of_the_reports_is_frozen(frozen: OrbitSet) -> None:
    assert frozen.sha256 == "f28e3008cea50c91c7fc8c5f292c7520a457e58c4669c4e06b615b18db5dc92c", (
        "configs/evaluate_orbit.yaml has changed: figures would no longer compare with any report made before"
    )


@pytest.mark.parametrize(
    ("size_px", "scenes", "sha256"),
    [(128, 64, "ea7ef140bf907b9ebdd070eb69ad672560656e6fa976c963eb4b18f251d1543a"),
     (256, 16, "291bf565bf0cd6d3795ecc46694281d39c3451e7a8a6084833770444b864174d")],
)  # fmt: skip
def test_larger_sets_are_frozen_and_show_the_same(size_px: int, scenes: int, sha256: str, frozen: OrbitSet) -> None:
    large = load(OrbitSet, Path(f"evaluate_orbit_{size_px}"))
    assert large.sha256 == sha256
    assert large == replace(frozen, size_px=size_px, scenes=scenes)
    for spread in ("narrow", "full"):
        clips = [replace(one, scenes=2).clip(spread) for one in (large, frozen)]
        cameras, usual = (clip.cameras for clip in clips)
        assert torch.equal(cameras.world_from_camera, usual.world_from_camera)
        assert torch.allclose(cameras.resized((64, 64)).K, usual.K)
        means = torch.nn.functional.avg_pool2d(clips[0].rgb.flatten(0, 1), size_px // 64)
        apart = (means - clips[1].rgb.flatten(0, 1)).abs()  # edges and fine texture have other rays
        assert float(apart.mean()) < 0.01 and float(apart.flatten().quantile(0.9)) < 0.03


def test_its_images_are_frozen_too(frozen: OrbitSet) -> None:
    clip = replace(frozen, scenes=2).clip("medium")
    marks = torch.cat([clip.cameras.centers[:, [0, -1]].flatten(), clip.rgb[:, [0, -1]].mean((-2, -1)).flatten()])
    assert torch.allclose(marks, torch.tensor(MARKS), atol=1e-3), (
        f"scenes, cameras or shading have changed: figures would no longer compare with any report made before: {marks}"
    )


def test_another_order_of_spreads_is_another_set_and_another_hash() -> None:
    other = replace(SMALL, spreads_deg=dict(reversed(SMALL.spreads_deg.items())))
    assert other.sha256 != SMALL.sha256
    assert not torch.equal(other.clip("full").rgb, SMALL.clip("full").rgb)


def test_a_set_is_the_same_every_time_and_different_in_every_scene_and_spread() -> None:
    clip = SMALL.clip("narrow")
    assert torch.equal(clip.rgb, SMALL.clip("narrow").rgb)
    assert not torch.equal(clip.rgb[0], clip.rgb[1])
    assert not torch.equal(clip.cameras.centers, SMALL.clip("full").cameras.centers)


def test_more_scenes_more_given_more_targets_and_more_spreads_leave_what_was_there() -> None:
    small = SMALL.clip("full")
    spreads = {**SMALL.spreads_deg, "medium": 46.0}
    large = replace(SMALL, scenes=3, given=(1, 2, 3), targets=3, spreads_deg=spreads).clip("full")
    for mine, among in ((slice(0, 2), slice(0, 2)), (slice(2, 4), slice(3, 5))):
        assert torch.equal(small.cameras.centers[:, mine], large.cameras.centers[:2, among])
        assert torch.allclose(small.rgb[:, mine], large.rgb[:2, among], atol=1e-5)


def test_cameras_stay_within_their_spread() -> None:
    config = replace(SMALL, scenes=16)
    centers = config.clip("narrow").cameras.centers
    azimuth = torch.atan2(centers[..., 1], centers[..., 0])
    apart = azimuth - azimuth[:, :1]
    apart = torch.rad2deg(torch.atan2(apart.sin(), apart.cos())).abs()
    assert 14 < float(apart.max()) < 2 * 14 + 6  # the point looked at moves by 0.12 m, seen from 2.4 m or more


def test_no_scene_of_the_set_is_a_training_scene(frozen: OrbitSet) -> None:
    held_out = tabletop(frozen.seed, list(range(frozen.scenes)), held_out=True).motion.position.flatten(1)
    training = tabletop(frozen.seed, list(range(1000))).motion.position.flatten(1)
    assert float(torch.cdist(held_out, training).min()) > 1e-3
    assert float(torch.cdist(held_out, held_out).fill_diagonal_(1).min()) > 1e-3


def test_no_number_of_a_camera_is_a_number_of_its_scene() -> None:
    scene = set(stream(Stream.HELD_OUT_SCENES, 0, 5).random(400))
    for place in (1, 2, 3):
        for role in (0, 1):
            assert not scene & set(stream(Stream.HELD_OUT_SCENES, 0, 5, place, role).random(400))


Call = tuple[Clip, Cameras, Tensor, list[int]]


def of_scenes(figure: Figure) -> Interval:
    """A figure that is a mean over scenes."""
    assert isinstance(figure, Interval)
    return figure


def mean(figure: Figure) -> float:
    """The mean of a figure that has one."""
    found = of_scenes(figure).mean
    assert found is not None
    return found


def recorded(prediction: Callable[..., Clip], calls: list[Call]) -> Callable[..., Clip]:
    """`prediction` in place of `generate_views`, recording its arguments."""

    def generate(_: WorldModel, known: Clip, targets: Cameras, scale: Tensor, sampling: Sampling, ids: Any, step: Any):
        calls.append((known, targets, scale, ids))
        for _step in range(sampling.steps):
            step()
        return prediction(known, targets)

    return generate


def test_the_model_predicts_the_same_targets_whatever_is_given_and_is_never_given_depth(monkeypatch, model) -> None:
    def silent(known: Clip, targets: Cameras) -> Clip:
        cameras = Cameras.cat([known.cameras, targets])
        return Clip(torch.zeros(*cameras.shape, 3, 16, 16), torch.ones(*cameras.shape, 1, 16, 16), cameras)

    calls: list[Call] = []
    monkeypatch.setattr(predictions, "generate_views", recorded(silent, calls))
    wide = replace(SMALL, spreads_deg={"full": 180.0})
    evaluate(wide, model, TWO_STEPS, full=["full"])
    truth = wide.clip("full")
    assert [known.cameras.shape[1] for known, *_ in calls] == [1, 1, 2, 2]
    for known, targets, scale, ids in calls:
        given = known.cameras.shape[1]
        assert torch.equal(known.rgb, truth.rgb[:, :given])
        assert not known.depth.any()
        assert torch.equal(targets.world_from_camera, truth.cameras.world_from_camera[:, -2:])
        assert torch.equal(scale, scene_scale_from_cameras(Cameras.cat([known.cameras, targets])))
        assert ids == [*range(given), 2, 3]


def test_each_figure_is_about_its_own_frames_in_every_chunk(monkeypatch, model) -> None:
    config = replace(SMALL, scenes=3, spreads_deg={"full": 180.0})
    truth, places = config.clip("full"), iter([slice(0, 2), slice(2, 3)] * 2)

    def nearly_true(known: Clip, targets: Cameras) -> Clip:
        frames, some = [*range(known.cameras.shape[1]), 2, 3], next(places)
        wrong = torch.tensor([1.1] * (len(frames) - 2) + [1.2, 1.2])[:, None, None, None]
        cameras = Cameras.cat([known.cameras, targets])
        return Clip(0.9 * truth.rgb[some][:, frames] + 0.05, wrong * truth.depth[some][:, frames], cameras)

    monkeypatch.setattr(predictions, "generate_views", recorded(nearly_true, []))
    monkeypatch.setattr(predictions, "CLIPS_AT_ONCE", 2)
    report = evaluate(config, model, TWO_STEPS)
    for result in report.part("full").given.values():
        figures = result.methods[ONE]
        for name, value in {"abs_rel": 0.2, "delta": 1, "given_abs_rel": 0.1, "given_delta": 1}.items():
            found = of_scenes(figures[name])
            assert (found.mean, found.low, found.high) == pytest.approx((value, value, value), abs=2e-3)
            assert found.scenes == 3
        fair = set(result.methods) - {ONE, *ORACLES, "constant depth", "row depth"}
        scores = {name: mean(result.methods[name]["psnr"]) for name in fair}
        assert result.gain.over == max(scores, key=scores.__getitem__)
        assert result.gain.db.mean == pytest.approx(mean(figures["psnr"]) - max(scores.values()), abs=1e-4)
        assert result.gain.db.low is not None and result.gain.db.low > 0


def test_every_scene_has_noise_of_its_own_however_many_go_at_once(monkeypatch, model) -> None:
    calls: list[Call] = []
    config = replace(SMALL, scenes=3, given=(1,), spreads_deg={"full": 180.0})
    blank = Clip(torch.zeros(1, 3, 3, 16, 16), torch.ones(1, 3, 1, 16, 16), config.clip("full").cameras[:1, :3])
    monkeypatch.setattr(predictions, "generate_views", recorded(lambda *_: blank, calls))
    monkeypatch.setattr(predictions, "CLIPS_AT_ONCE", 1)
    evaluate(config, model, TWO_STEPS)
    ids = [i for *_, ids in calls for i in ids]
    assert len(ids) == 9 == len(set(ids))


def test_an_error_among_the_unseen_pixels_is_kept_apart_from_one_among_the_seen() -> None:
    clip = SMALL.clip("full")
    known, targets = clip.frames([0]), clip.frames([2, 3])
    visible = seen(known, targets)
    wrong = targets.rgb + torch.where(visible, 0.01, 0.1)
    found = dict(scores(Prediction(wrong), known, targets, visible))
    assert torch.allclose(found["psnr_seen"], torch.full((2,), 40.0), atol=1e-2)
    assert torch.allclose(found["psnr_unseen"], torch.full((2,), 20.0), atol=1e-2)


def test_agreement_is_of_the_given_images_and_the_new_ones_by_the_predicted_depth() -> None:
    clip = SMALL.clip("narrow")
    known, targets, shown = clip.frames([0]), clip.frames([2, 3]), clip.frames([0, 2, 3])
    inverse = scene_scale_from_cameras(shown.cameras)[:, None, None, None, None] / shown.depth
    cameras = shown.cameras.scaled(1 / scene_scale_from_cameras(shown.cameras)[:, None])
    prediction = Prediction(targets.rgb, targets.depth, known.depth)
    found = dict(scores(prediction, known, targets, seen(known, targets)))["agreement"]
    assert torch.allclose(found, agreement(shown.rgb, inverse, cameras))
    for other in (replace(prediction, rgb=1 - targets.rgb), replace(prediction, given_depth=2 * known.depth)):
        assert bool((dict(scores(other, known, targets, seen(known, targets)))["agreement"] < found - 0.1).all())
    assert "agreement" not in dict(scores(replace(prediction, given_depth=None), known, targets, seen(known, targets)))


def test_an_evaluation_is_written_whole_and_the_same_twice(tmp_path: Path, model: WorldModel) -> None:
    told: Told = []
    for name in ("a", "b"):
        told.clear()
        report = evaluate(
            SMALL, model, TWO_STEPS, full=["narrow", "full"], output=tmp_path / name,
            progress=lambda *at: told.append(at),
        )  # fmt: skip
    assert_whole(told)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["manifest.json", "report.json", "report.md", "sheet-full.png", "sheet-narrow.png", "timings.json"]
    for name in set(files) - {"timings.json"}:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert json.loads((tmp_path / "a" / "report.json").read_text("utf-8")) == report.plain()
    assert report.config_sha256 == SMALL.sha256 == report.plain()["config_sha256"]
    seconds = json.loads((tmp_path / "a" / "timings.json").read_text())["seconds_per_clip_and_step"]
    assert all(seconds[spread][given][how] > 0 for spread in SMALL.spreads_deg for given in "12" for how in (ONE, FULL))
    text = (tmp_path / "a" / "report.md").read_text("utf-8")
    for method in (ONE, FULL, *BLIND, *ORACLES, "constant depth", "row depth"):
        for given in "12":
            assert text.count(f"| {given} | {method} |") == 2, method
    figures = report.part("full").given[1].methods[ONE]
    row = next(line for line in reversed(text.splitlines()) if line.startswith(f"| 1 | {ONE} |"))
    assert row.count("[") == len(figures) == 10 + has_flip()


def test_figures_in_space_stand_beside_those_of_the_images(tmp_path: Path, model: WorldModel) -> None:
    told: Told = []
    config = replace(SMALL, given=(1,), spreads_deg={"narrow": 14.0})
    report = evaluate(
        config, model, TWO_STEPS, spatial=SpatialMetrics(True, 1, 2), output=tmp_path / "new",
        progress=lambda *at: told.append(at),
    )  # fmt: skip
    assert_whole(told)
    assert len(told) == 2 + (1 + 1 + STEPS) + 1 and told[-2][1].startswith("closed loops")
    part = report.part("narrow")
    assert part.camera_control is not None and report.loops is not None
    assert part.camera_control.scenes == 1 and report.loops.scenes == 2
    methods = part.camera_control.methods
    assert set(methods) == {FLOOR, DEGRADED, ONE, "copy nearest"}
    assert mean(methods[FLOOR]["rot_deg"]) < 2  # from 2 degrees off, at 16 px
    assert set(part.consistency) >= {TRUE, OTHERS, ONE, "row mean"}
    plain = evaluate(config, model, TWO_STEPS)
    assert plain.part("narrow").given == part.given
    kept = report.plain()
    assert set(kept["spreads"]["narrow"]) >= {"consistency", "camera_control"} and kept["loops"]["scenes"] == 2
    assert "loops" not in plain.plain() and "consistency" not in plain.plain()["spreads"]["narrow"]
    text = (tmp_path / "new" / "report.md").read_text("utf-8")
    for words in ("## Do the new views agree", "## Camera control", "CamI2V (rel): sum over 2 frames", "## Once round"):
        assert words in text
    assert (tmp_path / "new" / "sheet-loops.png").is_file()


def test_full_samples_are_drawn_on_the_chosen_spreads_only(model: WorldModel) -> None:
    report = evaluate(replace(SMALL, scenes=1, given=(1,)), model, TWO_STEPS, full=("full",))
    assert FULL not in report.part("narrow").given[1].methods
    assert FULL in report.part("full").given[1].methods


def test_bad_requests_are_refused_before_any_work(tmp_path: Path, model: WorldModel, monkeypatch) -> None:
    monkeypatch.setattr(OrbitSet, "truth", lambda *_: pytest.fail("work was begun"))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="expected a new or empty folder"):
        evaluate(SMALL, model, TWO_STEPS, output=tmp_path / "old")
    with pytest.raises(InputError, match="of 16 px evaluated on 4 frames of 12 px; expected its size or a larger one"):
        evaluate(replace(SMALL, size_px=12), model, TWO_STEPS)
    with pytest.raises(InputError, match="at most its frames"):
        evaluate(replace(SMALL, given=(1, 3)), model, TWO_STEPS)
    with pytest.raises(InputError, match="samples for spread 'wide'"):
        evaluate(SMALL, model, TWO_STEPS, full=("wide",))


@pytest.mark.parametrize(
    "change",
    [{"family": "room"}, {"scenes": 0}, {"given": ()}, {"given": (0, 2)}, {"targets": 0}, {"spreads_deg": {}},
     {"spreads_deg": {"../up": 14.0}}],
)  # fmt: skip
def test_a_set_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        replace(SMALL, **change)


def test_the_embedded_model_reaches_its_figures(frozen: OrbitSet) -> None:
    """Medium spread, 2 given, one call, the first 4 of the 64 scenes that reports are of, as measured when the weights
    were made: something between images and predictions is wrong where this moves."""
    clip = replace(frozen, scenes=4).clip("medium")
    known, targets = clip.frames(slice(0, 2)), clip.frames(slice(4, 6))
    problem = predictions.Problem(known, targets, (0, 1, 4, 5), 6)
    made, _ = predictions.predict(WorldModel.load("tiny", "cpu"), problem, ONE_CALL, lambda: None)
    found = dict(scores(made, known, targets, torch.ones_like(targets.depth, dtype=torch.bool)))
    assert float(found["psnr"].mean()) == pytest.approx(21.67, abs=0.3)
    assert float(found["abs_rel"].mean()) == pytest.approx(0.115, abs=0.02)
    assert torch.allclose(found["psnr"], torch.tensor([22.13, 20.85, 24.60, 19.12]), atol=0.6)


def test_a_first_stage_s_steps_are_counted(tmp_path: Path) -> None:
    """Progress ends at the whole: in images, closed loops and full samples of models with one stage and with two."""
    first = WorldModel.create(replace(tiny_model(), frames=8)).training(False)
    config = replace(small_model(coarse="first"), frames=8, stage_steps=2)
    model, told = WorldModel.create(config, coarse=first).training(False), []
    small = replace(SMALL, given=(1,), spreads_deg={"narrow": 14.0})
    report = evaluate(
        small, model, Sampling(steps=3), other_models={"first": first}, full=("narrow",),
        spatial=SpatialMetrics(loop_scenes=1), progress=lambda *at: told.append(at),
    )  # fmt: skip
    assert_whole(told)
    steps = {ONE: 2, FULL: 3 + 2, f"{ONE}: first": 1, f"{FULL}: first": 3}
    assert set(report.part("narrow").given[1].methods) >= set(steps)
    assert len(told) == 2 + (1 + 1 + STEPS) * sum(steps.values()) + 1
