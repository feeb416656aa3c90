"""Weights as one file or as shards."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from geometry.errors import InputError
from worldgen.models.weights import read_weights, write_weights


@pytest.fixture
def state() -> dict[str, Tensor]:
    """Eleven tensors of 800 bytes, one of 8,000 and a scalar."""
    torch.manual_seed(0)
    small = {f"layer.{n}": torch.randn(10, 20) for n in range(11)}
    return {**small, "large": torch.randn(100, 20), "one": torch.tensor(3.0)}


def names(folder: Path) -> list[str]:
    """Of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("limit", "count"), [(1 << 20, 1), (8500, 3), (1600, 8), (1, 13)])
def test_shards_hold_what_one_file_does(state: dict[str, Tensor], limit: int, count: int, tmp_path: Path) -> None:
    write_weights(state, tmp_path, shard_bytes=limit)
    assert len(names(tmp_path)) == count
    back, digest = read_weights(tmp_path)
    assert set(back) == set(state) and all(torch.equal(back[name], state[name]) for name in state)
    assert len(digest) == 64
    if count < 8:
        assert all(path.stat().st_size < limit + 2000 for path in tmp_path.iterdir())


def test_int8_shards_hold_what_one_int8_file_does(state: dict[str, Tensor], tmp_path: Path) -> None:
    for name, limit in (("one", 1 << 20), ("many", 900)):
        (tmp_path / name).mkdir()
        write_weights(state, tmp_path / name, int8=True, shard_bytes=limit)
    one, many = read_weights(tmp_path / "one")[0], read_weights(tmp_path / "many")[0]
    assert len(names(tmp_path / "many")) > 3
    assert all(torch.equal(one[name], many[name]) for name in state)
    assert 0 < (one["large"] - state["large"]).abs().max() < 0.03


@pytest.mark.parametrize("before", [900, 1600])
@pytest.mark.parametrize("after", [900, 1 << 20])
def test_saving_again_leaves_nothing_of_what_was_there(
    state: dict[str, Tensor], before: int, after: int, tmp_path: Path
) -> None:
    write_weights(state, tmp_path, shard_bytes=before)
    newer = {name: value + 1 for name, value in state.items()}
    write_weights(newer, tmp_path, shard_bytes=after)
    back, _ = read_weights(tmp_path)
    assert all(torch.equal(back[name], newer[name]) for name in state)
    assert len(names(tmp_path)) == (1 if after == 1 << 20 else 13)


def test_a_missing_shard_and_shards_of_two_models_are_errors(state: dict[str, Tensor], tmp_path: Path) -> None:
    for name, add in (("a", 0.0), ("b", 1.0)):
        (tmp_path / name).mkdir()
        write_weights({n: v + add for n, v in state.items()}, tmp_path / name, shard_bytes=8500)
    mixed = tmp_path / "a" / "weights-2-of-3.safetensors"
    mixed.write_bytes((tmp_path / "b" / mixed.name).read_bytes())
    with pytest.raises(InputError, match="shards of 2 different models"):
        read_weights(tmp_path / "a")
    mixed.unlink()
    with pytest.raises(InputError, match=r"has weights-1-of-3.*expected all shards of one model"):
        read_weights(tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        read_weights(tmp_path)


def test_a_shard_that_cannot_be_written_leaves_the_model_that_was_there(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch
) -> None:
    write_weights(state, tmp_path, shard_bytes=8500)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    from worldgen.models import weights as weight_files

    real, calls = weight_files.save_file, []

    def failing(*arguments, **options) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(*arguments, **options)

    monkeypatch.setattr(weight_files, "save_file", failing)
    with pytest.raises(InputError, match="No space left"):
        write_weights({name: value + 1 for name, value in state.items()}, tmp_path, shard_bytes=8500)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("shape", [(16, 24), (16, 8, 3, 3)], ids=["matrix", "convolution"])
def test_each_row_of_bytes_has_its_own_scale(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Rows of any size keep seven bits; those of a convolution are its outputs."""
    size = torch.logspace(-6, 3, 16).view(16, *[1] * (len(shape) - 1))
    matrix = size * torch.randn(shape)
    write_weights({"layer.weight": matrix}, tmp_path, int8=True)
    found = read_weights(tmp_path)[0]["layer.weight"]
    largest = matrix.abs().amax(tuple(range(1, len(shape))), keepdim=True)
    assert (tmp_path / "weights.safetensors").stat().st_size < 0.6 * 4 * matrix.numel() + 400
    assert bool(((found - matrix).abs() <= 0.51 * largest / 127).all()) and not torch.equal(found, matrix)
