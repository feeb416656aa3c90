"""Checkpoints: whole or not there."""

import errno
import json
import resource
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from geometry.errors import InputError
from worldgen.training.engine import checkpoint


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


def test_shards_that_no_checkpoint_names_are_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    stray, others = tmp_path / "c.0000003.1-of-2.safetensors", [tmp_path / "c.yaml", tmp_path / "d.1-of-2.safetensors"]
    for file in (stray, *others):
        file.write_text("x")
    checkpoint.remove_strays(path)
    assert not stray.exists() and all(file.exists() for file in others)
    checkpoint.save(path, {"a": torch.zeros(3)}, {"step": 1})
    stray.write_text("x")
    checkpoint.remove_strays(path)
    assert not stray.exists() and path.exists() and all(file.exists() for file in others)


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


def in_shards(folder: Path, cuts: tuple[int, ...], rows: int = 7) -> torch.Tensor:
    """A checkpoint whose tensor `a` [rows, 3] is cut at some rows, each part in a file of its own; returns `a`."""
    whole, names = (
        torch.randn(rows, 3),
        [f"c.0000005.{n}-of-{len(cuts) + 1}.safetensors" for n in range(1, len(cuts) + 1)],
    )
    bounds = [0, *cuts, rows]
    for n, (first, last) in enumerate(pairwise(bounds)):
        metadata = {"rows": json.dumps({"a": [first, rows]})}
        if n == 0:
            metadata |= {"worldgen": json.dumps({"step": 5}), "shards": json.dumps(names)}
        path = folder / ("c.safetensors" if n == 0 else names[n - 1])
        save_file({"a": whole[first:last].clone()}, path, metadata=metadata)
    return whole


@pytest.mark.parametrize("cuts", [(), (4,), (2, 3, 6)])
def test_any_rows_are_read_from_any_shards(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    whole = in_shards(tmp_path, cuts)
    opened = checkpoint.Checkpoint(tmp_path / "c.safetensors")
    assert opened.header == {"step": 5} and list(opened) == ["a"] and torch.equal(opened["a"], whole)
    for first in range(8):
        for last in range(first, 8):
            assert torch.equal(opened.rows("a", slice(first, last)), whole[first:last])


def test_a_checkpoint_without_one_of_its_shards_is_refused_by_name(tmp_path: Path) -> None:
    in_shards(tmp_path, (2, 3))
    missing = tmp_path / "c.0000005.2-of-3.safetensors"
    missing.unlink()
    with pytest.raises(InputError, match=missing.name):
        checkpoint.Checkpoint(tmp_path / "c.safetensors")
    save_file({"b": torch.zeros(1)}, missing)
    with pytest.raises(InputError, match="expected all its shards"):
        _ = checkpoint.Checkpoint(tmp_path / "c.safetensors")["a"]


def test_a_new_checkpoint_takes_the_old_shards_away_and_leaves_other_files_alone(tmp_path: Path) -> None:
    in_shards(tmp_path, (2, 3))
    (tmp_path / "c.best.safetensors").write_bytes(b"mine")
    checkpoint.save(tmp_path / "c.safetensors", {"a": torch.zeros(3)}, {"step": 6})
    assert {path.name for path in tmp_path.iterdir()} == {"c.safetensors", "c.best.safetensors"}


def test_a_full_disk_is_one_clear_error_and_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"a": torch.zeros(10)}, {"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # no file can grow beyond that: a write fails midway
    try:
        with pytest.raises(InputError, match=r"can't be written.*the checkpoint before it is kept") as caught:
            checkpoint.save(path, {"a": torch.ones(100_000)}, {"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value) and [file.name for file in tmp_path.iterdir()] == [path.name]
    assert checkpoint.load(path)[1] == {"step": 1}


def test_no_space_left_on_the_device_is_reported_as_such(tmp_path: Path, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match="No space left on device"):
        checkpoint.save(tmp_path / "c.safetensors", {"a": torch.zeros(3)}, {"step": 2})
