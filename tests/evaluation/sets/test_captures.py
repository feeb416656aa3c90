"""Real captures: which images are given, and that the others stay unseen."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.io.captures.nerfstudio import write_transforms
from geometry.io.images import write_png
from geometry.trajectory.paths import orbit
from tests.models.tiny import awake, tiny_model
from tests.runtime.told import Told, assert_whole
from worldgen.cli import main
from worldgen.core.clip import Clip
from worldgen.evaluation import predictions as predictions
from worldgen.evaluation.comparison import SpatialMetrics
from worldgen.evaluation.metrics.intervals import Interval
from worldgen.evaluation.predictions import FULL, ONE
from worldgen.evaluation.run import evaluate
from worldgen.evaluation.sets.captures import CapturesConfig, CapturesSet, read_capture
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling

CONFIG = CapturesConfig(16, (1, 3))
TWO_STEPS = Sampling(steps=2)


@pytest.fixture
def model() -> WorldModel:
    """A random model of 3 frames of 16 pixels."""
    model = WorldModel.create(tiny_model())
    awake(model.network)
    return model


def write_capture(folder: Path, count: int) -> Cameras:
    """A capture on a circle, each image of one gray of its own."""
    folder.mkdir(exist_ok=True)
    cameras = Cameras.from_fov(orbit(torch.zeros(3), 2.0, 20.0, count), 50.0, (20, 24))
    names = [f"{i}.png" for i in range(count)]
    for i, name in enumerate(names):
        write_png(folder / name, torch.full((3, 20, 24), (10 + 20 * i) / 255))
    write_transforms(folder / "transforms.json", cameras, names)
    return cameras


def test_given_and_held_out_images_never_mix_and_a_view_is_made_from_the_nearest(
    tmp_path: Path, model: WorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_capture(tmp_path / "place", 8)
    calls: list[tuple[Clip, Cameras]] = []

    def truthful(_: WorldModel, known: Clip, targets: Cameras, scale: torch.Tensor, sampling: Sampling, ids, step):
        calls.append((known, targets))
        for _step in range(sampling.steps):
            step()
        cameras = Cameras.cat([known.cameras, targets])
        rgb = torch.cat([known.rgb, known.rgb[:, :1]], 1)  # the nearest image, as it is
        return Clip(rgb, torch.ones_like(rgb[:, :, :1]), cameras)

    monkeypatch.setattr(predictions, "generate_views", truthful)
    told: Told = []
    captures = CapturesSet.read(CONFIG, [tmp_path])
    names = [part.name for part in captures.parts()]
    report = evaluate(captures, model, TWO_STEPS, full=names, progress=lambda *at: told.append(at))
    assert_whole(told)
    (part,) = report.parts
    assert len(part.facts["held_out"]) == 5 and not set(part.facts["held_out"]) & set(part.facts["given_images"])
    assert [known.cameras.shape for known, _ in calls] == [(5, 1), (5, 1), (5, 2), (5, 2)]  # a model of three frames
    assert not any(known.depth.any() for known, _ in calls)
    for given, result in part.given.items():
        swept = {"plane sweep", "plane sweep, soft", "plane warp, blurred"} if given > 1 else set()
        assert set(result.methods) == {ONE, FULL, "mean color", "row mean", "copy nearest", *swept}
        assert result.methods[ONE] == result.methods["copy nearest"]
        assert set(result.methods[ONE]) - {"flip"} == {"psnr", "ssim", "sharpness"} and result.seen_fraction is None
        figure = result.methods[ONE]["psnr"]
        assert isinstance(figure, Interval) and figure.scenes == 5


def test_images_are_squared_and_cameras_follow(tmp_path: Path) -> None:
    from worldgen.data.captures import find_captures

    cameras = write_capture(tmp_path, 4)
    (capture,) = find_captures(tmp_path)
    clip, names = read_capture(capture, 10, "crop")
    assert clip.rgb.shape == (4, 3, 10, 10) and names == ("0.png", "1.png", "2.png", "3.png")
    assert not clip.depth.any()
    assert torch.allclose(clip.cameras.K[:, 0, 0], cameras.K[:, 0, 0] / 2)
    assert torch.allclose(clip.cameras.world_from_camera, cameras.world_from_camera, atol=1e-5)


def test_captures_that_are_too_small_are_skipped_beside_others_and_refused_alone(
    tmp_path: Path, model: WorldModel
) -> None:
    write_capture(tmp_path / "large", 5)
    write_capture(tmp_path / "small", 3)
    report = evaluate(CapturesSet.read(CONFIG, [tmp_path]), model, TWO_STEPS, output=tmp_path / "out")
    assert len(report.parts) == 1 and "small" in report.plain()["skipped"][0]
    text = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert "Skipped" in text and "AbsRel" not in text and "true depth" not in text
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".json", ".json", ".json", ".md", ".png"]
    with pytest.raises(InputError, match="3 images, not more than the 3"):
        CapturesSet.read(CONFIG, [tmp_path / "small"])


def test_bad_requests_are_refused(tmp_path: Path, model: WorldModel, capsys: pytest.CaptureFixture[str]) -> None:
    write_capture(tmp_path / "place", 5)
    with pytest.raises(InputError, match="expected each once"):
        CapturesSet.read(CONFIG, [tmp_path / "place", tmp_path / "place"])
    with pytest.raises(InputError, match="need exact depth"):
        evaluate(CapturesSet.read(CONFIG, [tmp_path]), model, TWO_STEPS, spatial=SpatialMetrics(True))
    with pytest.raises(InputError, match="at least 1"):
        replace(CONFIG, given=())
    with pytest.raises(InputError, match="crop or pad"):
        replace(CONFIG, fit="squash")
    out = str(tmp_path / "out")
    for arguments, message in (
        ([], "no captures"),
        (["nowhere"], "nowhere"),
        ([str(tmp_path / "place" / "0.png")], "0.png"),
    ):
        assert main(["evaluate", "captures", *arguments, "--output", out]) == 2
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1
    assert not Path(out).exists()
