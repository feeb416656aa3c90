"""What every test shares: checked shapes, a fixed seed, one thread, and the reference data."""

import os
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import settings

# Every annotated shape of the two packages is checked in every call, from the first import on, and only in the tests.
jaxtyping.install_import_hook(["geometry", "worldgen"], "beartype.beartype")

settings.register_profile("tests", deadline=None, derandomize=True, database=None)
settings.load_profile("tests")

# The tensors here are small: a second thread costs more than it brings, and sums depend on how they are shared.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # or commands would choose their own number


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Each test starts from the same random state, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switches shape checking off, to see the errors a user sees who has no jaxtyping."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared(root: Path) -> Path:
    """The folder `shared` beside the repository: real captures and numbers from the reference libraries."""
    folder = root.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the reference data (a folder `shared` beside the repository) is not here")
    return folder
