"""What is counted is what is computed, and the tables say what was measured."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.shared.report import Table
from benchmarks.throughput import __main__ as throughput
from benchmarks.throughput.training_steps import _ATTENTION, Steps
from geometry.errors import InputError
from tests.models.tiny import tiny_model
from worldgen.runtime.config import to_yaml
from worldgen.training.config.data import DataConfig
from worldgen.training.config.run import RunConfig
from worldgen.training.config.train import TrainConfig


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A run of seconds."""
    train = TrainConfig(batch=2, frames=(3,), precision="fp32", device="cpu")
    config = RunConfig(tmp_path / "run", tiny_model(), DataConfig(views=3, pool=1, supersample=1), train=train)
    (tmp_path / "run.yaml").write_text(to_yaml(config))
    return tmp_path / "run.yaml"


def test_attention_and_convolutions_are_counted_both_ways() -> None:
    """Attention makes two products forward and five backward (Dao 2023), a convolution one and two."""
    q, k, v = (torch.randn(2, 3, tokens, 8, requires_grad=True) for tokens in (16, 32, 32))
    image, kernel = torch.randn(1, 4, 9, 9, requires_grad=True), torch.randn(5, 4, 3, 3, requires_grad=True)
    for out, product, products in (
        (lambda: F.scaled_dot_product_attention(q, k, v), 2 * 2 * 3 * 16 * 32 * 8, 7),
        (lambda: F.conv2d(image, kernel), 2 * 5 * 4 * 9 * 49, 3),
    ):
        with FlopCounterMode(display=False, custom_mapping=_ATTENTION) as counter:
            out().sum().backward()
        assert counter.get_total_flops() == products * product


def test_steps_are_trained_timed_and_told_apart_by_kind(file: Path, tmp_path: Path) -> None:
    steps = Steps(str(file), ["train.steps=9"], tmp_path / "out")
    assert steps.describe() == {"name": tiny_model().name, "backbone": "dit", "bf16": False}
    weights = {name: value.clone() for name, value in steps.trainer.state().items()}
    flops = steps.flops(0)
    assert all(torch.equal(value, weights[name]) for name, value in steps.trainer.state().items())
    took = steps.step(0, 1)
    assert any(not torch.equal(value, weights[name]) for name, value in steps.trainer.state().items())
    assert flops > 1e6 and took["seconds"] > 0 and took["rate"] > flops / took["seconds"]
    assert steps.data(1, 1) > 0
    kinds = steps.kinds(1, 1)
    assert {"matrix products", "attention", "optimizer", "conditioning", "norms and other passes"} < set(kinds)
    assert min(kinds.values()) >= 0


class Run:
    """A run of which a step takes so many seconds."""

    def __init__(self, seconds: float):
        self.seconds, self.steps = seconds, []

    def __call__(self, what: str, **arguments: Any) -> Any:
        if what == "step":
            self.steps.append(arguments["step"])
        return {
            "flops": 2e9, "step": {"seconds": self.seconds, "rate": 10e9}, "data": 0.5,
            "describe": {"name": "small", "backbone": "dit", "bf16": False}, "kinds": {"attention": 1.0, "copies": 3.0},
        }[what]  # fmt: skip


def test_packages_take_turns_and_are_set_beside_each_other() -> None:
    runs = {"this": Run(0.5), "other": Run(1.0)}
    rows, kinds = throughput.compared(runs, 1, 3)  # type: ignore[arg-type]
    assert runs["this"].steps == runs["other"].steps == [0, 1, 2, 3]
    this, other = (dict(zip(throughput.SHARES, row)) for row in rows)
    assert this["share %"] == 40 and this["share with data %"] == 20 and this["times this"] == 1
    assert other["share %"] == 20 and other["times this"] == 2 and other["s a step"] == 1
    assert [row[3:] for row in kinds[:2]] == [["copies", 3.0, 75.0], ["attention", 1.0, 25.0]]
    assert Table.of(throughput.SHARES, rows).markdown() and Table.of(throughput.KINDS, kinds).markdown()
    assert throughput.below(rows, {"small": "dit"}) == []
    rows, _ = throughput.compared({"this": Run(1.0)}, 1, 3)  # type: ignore[dict-item]
    assert throughput.below(rows, {"small": "unet"}) == []
    (miss,) = throughput.below(rows, {"small": "dit"})
    assert "20.0%" in miss and "25%" in miss


def test_a_process_measures_the_package_of_a_checkout_or_fails_in_one_line(file: Path) -> None:
    root = Path(__file__).parents[3]
    with throughput.measured(file, (), root) as run:
        assert run("flops", step=0) > 1e6
    with throughput.measured(file, ["train.batch=0"], root) as run, pytest.raises(InputError, match="flops could not"):
        run("flops", step=0)
