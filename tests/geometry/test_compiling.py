"""What numba keeps on disk is compiled anew when anything it was made from changes, and only then."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from geometry.compiling import compiled, source_digest

pytest.importorskip("numba")

RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
from toy.kernel import scaled
print(json.dumps([scaled(5.0), sum(scaled.stats.cache_hits.values()), sum(scaled.stats.cache_misses.values())]))
"""
TOY = {
    "__init__": "",
    "constants": "FACTOR = 2.0\n",
    "inner": "import numba\nfrom toy.constants import FACTOR\n\n@numba.njit\ndef twice(x):\n    return FACTOR * x\n",
    "kernel": "from toy.compiling import compiled\nfrom toy import constants, inner\n"
    "from toy.inner import twice\n\n@compiled(constants, inner)\ndef scaled(x):\n    return twice(x) + 1.0\n",
}


def run(folder: Path) -> tuple[float, bool]:
    """What a fresh interpreter computes, and whether it found the function compiled."""
    value, hits, misses = json.loads(subprocess.check_output([sys.executable, "-c", RUN, str(folder)], text=True))
    assert hits + misses == 1
    return value, bool(hits)


def test_a_change_of_a_source_is_seen_a_second_start_compiles_nothing_and_files_do_not_pile_up(tmp_path, root) -> None:
    package = tmp_path / "toy"
    package.mkdir()
    for name, text in TOY.items():
        (package / f"{name}.py").write_text(text)
    # A copy of the one file: importing the package would load torch at every start.
    shutil.copy(root / "geometry/compiling.py", package)

    def edit(name: str, old: str, new: str) -> None:
        text = (package / f"{name}.py").read_text()
        assert old in text
        (package / f"{name}.py").write_text(text.replace(old, new))

    def kept() -> list[str]:
        return sorted(path.name for path in (package / "__pycache__").iterdir() if path.suffix in (".nbi", ".nbc"))

    assert run(tmp_path) == (11.0, False)
    files = kept()
    assert len(files) == 2
    assert run(tmp_path) == (11.0, True)
    edit("inner", "FACTOR * x", "FACTOR * x * 10")  # a callee in another file
    assert run(tmp_path) == (101.0, False)
    edit("constants", "2.0", "3.0")  # a constant of a callee
    edit("kernel", "\n\n@compiled", "\n\n\n\n# further down\n@compiled")
    assert run(tmp_path) == (151.0, False)
    assert kept() == files


def test_the_digest_tells_files_by_their_content_and_order(tmp_path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, text in zip(paths, ("ab", "c", "ab"), strict=True):
        path.write_text(text)
    a, b, c = paths
    assert source_digest(a, b) == source_digest(c, b) != source_digest(b, a)
    a.write_text("a")
    b.write_text("bc")  # the same bytes one after the other
    assert source_digest(a, b) != source_digest(c, b)


def test_where_no_folder_can_be_written_functions_are_compiled_all_the_same(monkeypatch) -> None:
    """As in a container with a read-only home: numba raises as a module is imported."""
    from numba.core.dispatcher import Dispatcher

    def refuse(_: Dispatcher) -> None:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(Dispatcher, "enable_caching", refuse)

    @compiled(nogil=True)
    def added(x, y):
        return x + y

    assert added(1.5, 2.0) == 3.5
