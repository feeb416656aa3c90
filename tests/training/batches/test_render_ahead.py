"""Scenes rendered ahead: the same footage, and processes that end whatever happens."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.errors import InputError
from tests.training.batches.test_scene_stream import equal
from worldgen.runtime.config import plain, to_yaml
from worldgen.training.batches.render_ahead import RenderAhead, scene_stream
from worldgen.training.batches.scene_stream import SceneStream
from worldgen.training.config.train import TrainingStage
from worldgen.training.engine.trainer import Trainer

CPU = torch.device("cpu")
LONG_S = 60.0
ROOT = Path(__file__).parents[3]


def awaited(holds: Callable[[], bool]) -> bool:
    """Whether something holds before long."""
    until = time.monotonic() + LONG_S
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)
    return holds()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody asked for has not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def open_files() -> int:
    """How many this process has; 0 where the system does not tell."""
    folder = Path("/dev/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def test_a_run_says_where_its_scenes_are_rendered(run_of) -> None:
    assert type(scene_stream(run_of(), CPU)) is SceneStream
    assert type(scene_stream(run_of(render_ahead=2), CPU)) is RenderAhead
    assert Trainer(run_of(render_ahead=1)).identity == Trainer(run_of("other")).identity, "either resumes the other"
    assert "render_ahead" not in plain(run_of())["train"]
    for wrong in (-1, 65):
        with pytest.raises(InputError, match=f"render_ahead {wrong}; expected 0 to 64"):
            run_of(render_ahead=wrong)


def test_the_footage_is_the_same_bit_for_bit_whatever_the_order_of_the_steps(run_of) -> None:
    config = run_of(steps=14, curriculum=(TrainingStage(2, 8, 4, (1,)),), batch=2, render_ahead=2)
    config = replace(config, data=replace(config.data, families={"tabletop": 1.0, "texture_soup": 1.0}, lenses=0.5))
    here, ahead = SceneStream(config, CPU, 1, 2), RenderAhead(config, CPU, 1, 2)  # the second of two ranks
    for step in [*range(14), 13, 3, 4, 0]:  # the last are those of a run that goes back
        made, expected = ahead.footage(step), here.footage(step)
        assert equal(made.clip, expected.clip) and made == expected


def test_weights_are_the_same_bit_for_bit_also_of_a_run_that_is_resumed_with_it(run_of) -> None:
    plain_run, ahead = Trainer(run_of("plain")), run_of("ahead", render_ahead=1)
    for _ in plain_run.steps():
        pass
    first = Trainer(replace(ahead, train=replace(ahead.train, render_ahead=0)))
    for record in first.steps():
        if record["step"] == 3:
            break
    first.save()
    resumed = Trainer(ahead)
    assert resumed.step == 3
    for _ in resumed.steps():
        pass
    assert all(torch.equal(value, resumed.state()[name]) for name, value in plain_run.state().items())


def test_what_rendering_raises_is_raised_with_its_own_message(run_of) -> None:
    with pytest.raises(InputError, match=r"^a batch of 4 for 3 ranks; expected a multiple$"):
        RenderAhead(run_of(batch=4, render_ahead=1), CPU, 0, 3).footage(0)
    with pytest.raises(RuntimeError, match=r"(?s)render_pool.*\n\w*Error: .*meta"):
        RenderAhead(run_of(render_ahead=1), torch.device("meta")).footage(0)


def test_a_process_that_was_killed_is_one_line_that_says_what_to_do(run_of) -> None:
    stream = RenderAhead(run_of(render_ahead=1), CPU)
    stream.footage(0)
    (worker,) = stream._workers
    worker._process.kill()
    with pytest.raises(InputError, match=r"exit code -9; expected .* train\.render_ahead=0") as caught:
        stream.footage(4)
    assert "\n" not in str(caught.value)


def test_the_processes_end_with_their_stream(run_of) -> None:
    stream = RenderAhead(run_of(render_ahead=2), CPU)
    stream.footage(0)
    processes = [worker._process for worker in stream._workers]
    files = open_files()
    assert all(process.is_alive() for process in processes)
    for step in range(0, 8, 4):
        stream.footage(step)
    assert open_files() == files
    del stream
    gc.collect()
    assert not any(process.is_alive() for process in processes)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("ending", ["interrupted", "killed"])
def test_a_trainer_that_ends_leaves_no_process(run_of, tmp_path: Path, ending: str) -> None:
    config = run_of(steps=100_000, log_every=1, render_ahead=2)
    (tmp_path / "run.yaml").write_text(to_yaml(config))
    command = [sys.executable, "-m", "worldgen", "train", str(tmp_path / "run.yaml")]
    group = {"start_new_session": True, "cwd": ROOT, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, **group) as trainer:
        log = config.output / "log.jsonl"
        assert awaited(lambda: trainer.poll() is not None or (log.exists() and log.read_text().count("\n") > 2))
        assert trainer.poll() is None
        children = [int(pid) for pid in Path(f"/proc/{trainer.pid}/task/{trainer.pid}/children").read_text().split()]
        assert len(children) >= 2 and all(alive(pid) for pid in children)
        if ending == "interrupted":
            os.killpg(trainer.pid, signal.SIGINT)  # as a terminal does
        else:
            trainer.kill()
        said = trainer.communicate(timeout=LONG_S)[1]
        assert trainer.returncode == (130 if ending == "interrupted" else -signal.SIGKILL)
        assert awaited(lambda: not any(alive(pid) for pid in children))
    if ending == "interrupted":
        assert said.rsplit("\r", 1)[-1].split("\n")[-2] == "worldgen: interrupted" and "Traceback" not in said
