"""Every dataclass that holds tensors prints in a few lines and can be compared."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import geometry
import worldgen
from docs.api import public_names
from geometry.camera.cameras import Cameras
from geometry.values import _repr, as_value, equal, summary
from worldgen.core.clip import Clip

# Tables of functions, which hold no tensors, and one that is filled step by step.
OTHERS = {"Builder", "Family", "MoveSpec", "Format", "Modality"}
BY_IDENTITY = {"WorldModel"}


def dataclasses_of(*packages: Any) -> dict[str, type]:
    """Every dataclass of the packages' modules by name with its module."""
    found = {}
    for package in packages:
        for item in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "numba" in item.name or item.name.endswith("splat_kernels"):
                continue  # compiled code without classes
            module = importlib.import_module(item.name)
            for name, kind in vars(module).items():
                if inspect.isclass(kind) and dataclasses.is_dataclass(kind) and kind.__module__ == item.name:
                    found[f"{item.name}.{name}"] = kind
    return found


ALL = dataclasses_of(geometry, worldgen)


def hints(kind: Any) -> str:
    """The annotations of a dataclass as a text."""
    return "; ".join(str(field.type) for field in dataclasses.fields(kind))


def holds_tensors() -> dict[str, type]:
    """The dataclasses with a tensor in a field, or in a field of a field, that are exported or made values."""
    holders = {name for name, kind in ALL.items() if re.search("Tensor|ndarray", hints(kind))}
    while True:
        names = "|".join(name.rpartition(".")[2] for name in holders)
        more = {name for name, kind in ALL.items() if re.search(rf"\b({names})\b", hints(kind))}
        if more <= holders:
            break
        holders |= more
    shown = (name for name in sorted(holders) if not name.rpartition(".")[2].startswith("_"))
    everything = [getattr(importlib.import_module(p), name) for p, names in public_names().items() for name in names]
    exported = [kind for kind in everything if inspect.isclass(kind)]
    kinds = {name: ALL[name] for name in shown if name.rpartition(".")[2] not in OTHERS | BY_IDENTITY}
    return {name: kind for name, kind in kinds.items() if kind in exported or kind.__repr__ is _repr}


VALUES = holds_tensors()


def sample(kind: Any, depth: int = 0) -> Any:
    """A value of that type, of large tensors and long texts; its own checks are passed over."""
    if kind is Cameras:
        return Cameras.from_fov(torch.eye(4).expand(500, 4, 4), 50.0, (6, 8))
    if kind is Clip:
        cameras = sample(Cameras)
        return Clip(torch.rand(500, 3, 6, 8), torch.rand(500, 1, 6, 8), cameras)
    value = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(value, field.name, _content(str(field.type), depth))
    return value


def _content(hint: str, depth: int) -> Any:
    inner = next(
        (k for name, k in ALL.items() if re.search(rf"\b{re.escape(name)}\b", hint) and not inspect.isabstract(k)), None
    )
    if "Callable" in hint:
        return torch.sin
    if inner is not None and depth < 4:
        made = sample(inner, depth + 1)
        return (made,) * 40 if "tuple[" in hint else {"a": made} if hint.startswith(("dict", "collections")) else made
    for words, made in (
        (("dict[", "Mapping["), {f"key {i}": torch.rand(3, 50) for i in range(60)}),
        (("tuple[", "Sequence["), tuple(range(300))),
        (("Tensor",), torch.rand(7, 50)),
        (("ndarray",), np.random.default_rng(0).random((7, 50))),
        (("Path",), Path("x" * 300)),
        (("str",), "text " * 80),
    ):  # fmt: skip
        if any(word in hint for word in words):
            return deepcopy(made)
    return 1.5


def changed(value: Any, depth: int = 0) -> Any:
    """Something of the same kind with one number changed; None where there is none to change."""
    match value:
        case torch.Tensor():
            other = value.clone()
            other.view(-1)[-1] = other.view(-1)[-1] + 1
            return other
        case np.ndarray():
            return value + 1
        case dict() if value:
            return {**value, list(value)[-1]: changed(list(value.values())[-1], depth)}
        case tuple() if value:
            return (*value[:-1], changed(value[-1], depth))
        case bool() | int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case Path():
            return value / "x"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        other = object.__new__(type(value))
        for field in dataclasses.fields(value):
            object.__setattr__(other, field.name, getattr(value, field.name))
        content = [f.name for f in dataclasses.fields(value) if f.compare and not callable(getattr(value, f.name))]
        if not content:
            return None
        object.__setattr__(other, content[0], changed(getattr(value, content[0]), depth + 1))
        return other
    return None


@pytest.mark.parametrize("name", VALUES)
def test_values_print_short_and_compare(name: str, unchecked: None) -> None:
    kind = VALUES[name]
    value = sample(kind)
    copy = sample(kind) if kind in (Cameras, Clip) else deepcopy(value)
    if kind is Clip:
        copy = deepcopy(value)
    if "_facts" not in vars(kind) or kind in (Cameras, Clip):
        assert len(repr(value)) < 500 and repr(value).startswith(kind.__name__)
        assert repr(value).count("\n") < 5
    assert (value == copy) is True and (value != copy) is False
    assert hash(value) == hash(copy)
    for field in dataclasses.fields(kind):
        content = getattr(value, field.name)
        if not field.compare or callable(content) or content is None:
            continue
        other = deepcopy(value)
        object.__setattr__(other, field.name, changed(content))
        assert (value == other) is False, field.name
    assert (value == 3) is False and (value == None) is False  # noqa: E711


def test_the_walk_finds_what_holds_tensors() -> None:
    names = {name.rpartition(".")[2] for name in VALUES}
    assert {"Cameras", "Clip", "World", "Scene", "PosedImages", "Mesh", "Levels", "Batch", "Lens"} <= names
    assert len(names) > 80


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (torch.tensor([1.0, torch.nan]), torch.tensor([1.0, torch.nan]), True),
        (torch.tensor([1.0, torch.nan]), torch.tensor([1.0, 2.0]), False),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64), False),
        (torch.zeros(2), torch.zeros(1, 2), False),
        (torch.zeros(2), None, False),
        (None, torch.zeros(2), False),
        (torch.zeros(1), 0.0, False),
        (np.zeros(2), np.zeros(2), True),
        (np.zeros(2), torch.zeros(2), False),
        ({"a": torch.zeros(2)}, {"a": torch.zeros(2)}, True),
        ({"a": torch.zeros(2)}, {"b": torch.zeros(2)}, False),
        ((torch.zeros(2), 1), (torch.zeros(2), 1), True),
        ([torch.zeros(2)], [torch.zeros(2), 1], False),
        (float("nan"), float("nan"), True),
        ("a", "a", True),
    ],
)
def test_equality_of_parts(a: Any, b: Any, same: bool) -> None:
    assert equal(a, b) is same and equal(b, a) is same


def test_equal_values_are_one_key() -> None:
    camera = Cameras.from_fov(torch.eye(4)[None], 50.0, (6, 8))
    assert len({camera, deepcopy(camera), Cameras.from_fov(torch.eye(4)[None], 60.0, (6, 8))}) == 2


def test_a_summary_tells_type_shape_range_and_what_is_not_finite() -> None:
    told = summary(torch.tensor([[0.0, 1.5, torch.inf, torch.nan, 2.0]]))
    assert told == "float32[1, 5] 0..2, 20% inf, 20% NaN"
    assert summary(torch.tensor([1, 2])) == "int64[2] 1, 2"
    assert summary(torch.arange(9)) == "int64[9] 0..8"
    assert summary(torch.tensor([True] * 3 + [False] * 5)) == "bool[8] 38% true"
    assert summary(torch.zeros(0, 3)) == "float32[0, 3]"
    assert summary({"a": 1}) == "{1: a}" and summary("x" * 99) == repr("x" * 37 + "...")


def test_a_type_tells_its_own_facts() -> None:
    @as_value
    @dataclasses.dataclass(frozen=True)
    class Pair:
        a: int

        def _facts(self) -> str:
            return f"a pair of {self.a}"

    assert repr(Pair(3)) == "Pair(a pair of 3)"
