"""A model on larger frames than it makes is given means of pixels, and what it predicts is enlarged."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import look_at
from tests.models.tiny import tiny_model
from worldgen.core.clip import LOOKED_UP, Clip
from worldgen.evaluation import predictions
from worldgen.evaluation.comparison import SpatialMetrics
from worldgen.evaluation.enlarging import enlarged, enlarged_rgb, shrunk
from worldgen.evaluation.metrics import loops
from worldgen.evaluation.predictions import Problem, clips_at_once, of_model, predict
from worldgen.evaluation.run import evaluate
from worldgen.evaluation.sets.orbit import OrbitSet
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import ONE_CALL, Sampling

LARGE = OrbitSet("tabletop", 0, 2, 32, 1, (1, 2), 2, {"narrow": 14.0})
TWO_STEPS = Sampling(steps=2)


def cameras_of(hw: tuple[int, int], *batch: int) -> Cameras:
    """Cameras that look at the origin."""
    eyes = torch.tensor([3.0, 0.5, 1.0]).expand(*batch, 3)
    return Cameras.from_fov(look_at(eyes, torch.zeros(3)), 50.0, hw)


def slope(size_px: int) -> Tensor:
    """One image [1, 1, 3, s, s] that is linear in the place, whatever the size."""
    along = (torch.arange(size_px) + 0.5) / size_px
    return (0.2 + 0.4 * along[:, None] + 0.2 * along).expand(1, 1, 3, size_px, size_px).contiguous()


def test_each_pixel_of_a_shrunk_image_is_the_mean_of_those_it_covers_and_cameras_follow() -> None:
    rgb, cameras = torch.rand(2, 3, 3, 32, 48), cameras_of((32, 48), 2, 3)
    small, theirs = shrunk(rgb, cameras, 16)
    assert torch.allclose(small, rgb.unflatten(-1, (24, 2)).unflatten(-3, (16, 2)).mean((-1, -3)), atol=1e-6)
    assert theirs.hw == (16, 24) and torch.allclose(theirs.K[..., :2, :], cameras.K[..., :2, :] / 2)
    assert shrunk(rgb, cameras, 32) == (rgb, cameras)
    assert torch.allclose(shrunk(slope(48), cameras_of((48, 48), 1, 1), 32)[0], slope(32), atol=0.02)  # 3 to 2


def test_what_is_enlarged_stays_in_its_place() -> None:
    small, large = cameras_of((16, 16), 1, 1), cameras_of((64, 64), 1, 1)
    inverse = slope(16)[:, :, :1]
    found = enlarged(Clip(slope(16), 1 / inverse, small, others={LOOKED_UP: inverse, "more": inverse}), large)
    inner = (..., slice(12, -12), slice(12, -12))  # half a pixel off would be 3e-3
    assert torch.allclose(found.rgb[inner], slope(64)[inner], atol=2e-3)
    assert torch.allclose(1 / found.depth[inner], slope(64)[:, :, :1][inner], atol=2e-3)
    assert set(found.others) == {LOOKED_UP}
    assert torch.allclose(found.others[LOOKED_UP][inner], slope(64)[:, :, :1][inner], atol=2e-3)
    assert torch.equal(found.cameras.K, large.K)
    assert enlarged(found, large) is found and enlarged_rgb(found.rgb, (64, 64)) is found.rgb


def test_an_edge_to_the_sky_stays_between_the_surface_and_the_sky_and_colors_in_their_range() -> None:
    rgb, depth = torch.zeros(1, 1, 3, 16, 16), torch.full((1, 1, 1, 16, 16), math.inf)
    rgb[..., 8:], depth[..., 8:] = 1.0, 2.0
    found = enlarged(Clip(rgb, depth, cameras_of((16, 16), 1, 1)), cameras_of((64, 64), 1, 1))
    assert bool(((found.rgb >= 0) & (found.rgb <= 1)).all())
    assert bool((found.depth > 1.7).all()) and bool(found.depth[..., :24].isinf().all())
    assert torch.allclose(found.depth[..., 44:], torch.tensor(2.0))


def recorded(calls: list[tuple[Clip, Cameras, Tensor]], others: dict[str, float]):
    """In place of `generate_views`: gray images 2 m away."""

    def generate(_: WorldModel, known: Clip, targets: Cameras, scale: Tensor, sampling: Sampling, ids, step) -> Clip:
        calls.append((known, targets, scale))
        cameras = Cameras.cat([known.cameras, targets])
        one = torch.ones(*cameras.shape, 1, *cameras.hw)
        maps = {name: value * one for name, value in others.items()}
        return Clip(0.5 * one.expand(-1, -1, 3, -1, -1), 2 * one, cameras, others=maps)

    return generate


@pytest.mark.parametrize("size_px", [16, 32, 64])
def test_a_model_is_given_its_own_size_and_its_prediction_has_that_of_the_set(
    size_px: int, model: WorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = replace(LARGE, size_px=size_px).clip("narrow")
    known, targets = clip.frames([0, 1]), clip.frames([2, 3])
    calls: list[tuple[Clip, Cameras, Tensor]] = []
    monkeypatch.setattr(predictions, "generate_views", recorded(calls, {}))
    made, _ = predict(model, Problem(known, targets, (0, 1, 2, 3), 4), ONE_CALL, lambda: None)
    ((given, wanted, scale),) = calls
    means = torch.nn.functional.avg_pool2d(known.rgb.flatten(0, 1), size_px // 16).view(2, 2, 3, 16, 16)
    assert torch.allclose(given.rgb, means, atol=1e-6) and not given.depth.any()
    for cameras, whole in ((given.cameras, known.cameras), (wanted, targets.cameras)):
        assert cameras.hw == (16, 16)
        assert torch.allclose(cameras.K[..., 0, 0], whole.K[..., 0, 0] * 16 / size_px)
        assert torch.equal(cameras.world_from_camera, whole.world_from_camera)
    assert made.rgb is not None and made.depth is not None and made.given_depth is not None
    assert made.rgb.shape == targets.rgb.shape and torch.allclose(made.rgb, torch.tensor(0.5))
    for depth in (made.depth, made.given_depth):
        assert depth.shape == targets.depth.shape and torch.allclose(depth, torch.tensor(2.0))
    assert scale.shape == (2,) and made.looked_up is None


@pytest.mark.parametrize("size_px", [16, 32])
def test_what_a_model_says_it_looked_up_becomes_a_figure(
    size_px: int, model: WorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "generate_views", recorded([], {LOOKED_UP: 0.25}))
    report = evaluate(replace(LARGE, size_px=size_px), model, TWO_STEPS)
    for given, result in report.part("narrow").given.items():
        shares = {name: figures["looked_up"] for name, figures in result.methods.items() if "looked_up" in figures}
        warped = {"forward warp (oracle)", "backward warp (oracle)"}
        swept = {"plane sweep", "plane sweep, soft"} if given > 1 else set()
        (mine,) = set(shares) - warped - swept
        assert mine.startswith("one call") and shares[mine].mean == 0.25  # type: ignore[union-attr]
        assert warped | swept < set(shares)
        for name in warped:  # of these, exactly what is seen
            assert 0.5 < shares[name].mean <= 1  # type: ignore[union-attr, operator]


def test_a_report_says_which_methods_are_enlarged(tmp_path: Path, model: WorldModel) -> None:
    own = WorldModel.create(replace(tiny_model(), frames=4, size_px=32))
    spatial = SpatialMetrics(consistency=True, loop_scenes=1)
    config = replace(LARGE, given=(1,))
    report = evaluate(
        config, own, TWO_STEPS, other_models={"small": model}, full=["narrow"], spatial=spatial, output=tmp_path / "new"
    )
    names = {"one call", "full sample", "one call: small, enlarged", "full sample: small, enlarged"}
    part = report.part("narrow")
    assert {name for name in part.given[1].methods if name.startswith(("one", "full"))} == names
    assert set(part.given[1].against_first) == {"one call: small, enlarged", "full sample: small, enlarged"}
    assert set(part.given[1].against_first["one call: small, enlarged"]) >= {"psnr", "sharpness", "abs_rel"}
    assert names < set(part.consistency) and all(of_model(name) for name in names) and not of_model("copy nearest")
    assert report.loops is not None and all(names < set(methods) for methods in report.loops.methods.values())
    text = (tmp_path / "new" / "report.md").read_text("utf-8")
    assert "Enlarged: `small` makes frames of 16 px." in text and "enlarged to 32 px" in text
    assert report.plain()["other_models"] == [{"name": "small", "weights_sha256": None, "enlarged_px": 16}]
    assert "one call: small, enlarged (2)" in part.sheet_columns

    alone = evaluate(config, model, TWO_STEPS)
    methods = alone.part("narrow").given[1].methods
    assert "one call, enlarged" in methods and "one call" not in methods
    assert methods["one call, enlarged"] == part.given[1].methods["one call: small, enlarged"]
    assert alone.part("narrow").given[1].gain.db.mean is not None
    assert alone.plain()["model"]["enlarged_px"] == 16 and "enlarged_px" not in report.plain()["model"]


def test_a_closed_loop_is_made_at_the_models_size_and_enlarged_in_the_end(
    model: WorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []

    def copied(_: WorldModel, known: Clip, targets: Cameras, *_more) -> Clip:
        sizes.append(targets.hw)
        rgb = torch.cat([known.rgb, known.rgb[:, -1:].expand(-1, targets.shape[1], -1, -1, -1)], 1)
        return Clip(rgb, torch.ones_like(rgb[:, :, :1]), Cameras.cat([known.cameras, targets]))

    monkeypatch.setattr(loops, "generate_views", copied)
    image, cameras = torch.rand(1, 1, 3, 64, 64), cameras_of((64, 64), 1, 7)
    views = loops.once_round(model, image, cameras, 2, TWO_STEPS)
    assert set(sizes) == {(16, 16)} and views.shape == (1, 6, 3, 64, 64)
    once = enlarged_rgb(shrunk(image, cameras[:, :1], 16)[0], (64, 64))
    assert torch.equal(views, once.expand_as(views))


@pytest.mark.parametrize(("size_px", "clips"), [(16, 16), (64, 16), (128, 4), (256, 1), (512, 1)])
def test_fewer_large_clips_go_at_once(size_px: int, clips: int) -> None:
    assert clips_at_once(size_px) == clips
