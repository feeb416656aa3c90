"""Checkpoints: whole or not there."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from geometry.errors import InputError
from worldgen.training import checkpoint


def test_tensors_and_header_come_back(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 4), "b.c": torch.tensor(7.0), "d": torch.arange(5)}
    checkpoint.save(tmp_path / "new" / "c.safetensors", tensors, {"step": 3})
    loaded, header = checkpoint.load(tmp_path / "new" / "c.safetensors")
    assert header == {"step": 3} and loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], value) for name, value in tensors.items())


def test_a_half_written_checkpoint_is_never_seen_under_the_final_name(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"a": torch.zeros(100)}, {"step": 1})
    save_file = checkpoint.save_file

    def interrupted(tensors, target, metadata) -> None:
        save_file(tensors, target, metadata=metadata)
        Path(target).write_bytes(Path(target).read_bytes()[:200])
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_file", interrupted)
    for other in (path, tmp_path / "first.safetensors"):
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(other, {"a": torch.ones(100)}, {"step": 2})
    tensors, header = checkpoint.load(path)
    assert header == {"step": 1} and not tensors["a"].any()
    assert not (tmp_path / "first.safetensors").exists()
    monkeypatch.undo()
    checkpoint.save(path, {"a": torch.ones(100)}, {"step": 2})  # the wreck beside it is in nobody's way
    assert checkpoint.load(path)[1] == {"step": 2}


def test_a_checkpoint_is_on_the_disk_before_it_takes_the_final_name(tmp_path: Path, monkeypatch) -> None:
    events = []
    fsync, move = checkpoint.os.fsync, checkpoint.os.replace
    monkeypatch.setattr(checkpoint.os, "fsync", lambda file: (events.append("flush"), fsync(file)))
    monkeypatch.setattr(checkpoint.os, "replace", lambda a, b: (events.append("move"), move(a, b)))
    checkpoint.save(tmp_path / "c.safetensors", {"a": torch.zeros(3)}, {})
    assert events[:2] == ["flush", "move"]


@pytest.mark.parametrize("content", [None, b"", b"noise" * 100])
def test_a_file_that_is_no_checkpoint_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "c.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"c\.safetensors.*expected a checkpoint") as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)


def test_safetensors_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(3)}, tmp_path / "c.safetensors")
    with pytest.raises(InputError, match="expected a checkpoint"):
        checkpoint.load(tmp_path / "c.safetensors")


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.Muon])
def test_a_packed_optimizer_goes_on_as_if_nothing_had_happened(
    kind: Callable[..., torch.optim.Optimizer],
) -> None:
    def train(weight: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(3):
            (weight**3).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    weights = [torch.randn(4, 5, requires_grad=True)]
    optimizers = [kind(weights, lr=0.1)]
    train(weights[0], optimizers[0])
    weights.append(weights[0].detach().clone().requires_grad_())
    optimizers.append(kind([weights[1]], lr=0.1))
    checkpoint.unpack_optimizer("o", optimizers[1], checkpoint.pack_optimizer("o", optimizers[0]))
    for weight, optimizer in zip(weights, optimizers):
        train(weight, optimizer)
    assert torch.equal(weights[0], weights[1])
