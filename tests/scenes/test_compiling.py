"""What numba keeps on disk is compiled anew when anything it was made from changes."""

import ast
import importlib
from pathlib import Path

import pytest

from worldgen.scenes.compiling import source_digest

pytest.importorskip("numba")
COMPILED = ["rendering.numba.images", "rendering.numba.tracing", "physics.solver"]
# Values that only Python code uses: tensors come from them, but no constant or function of compiled code.
HOST = {"worldgen.scenes.compiling", "worldgen.scenes.rendering.solids", "worldgen.scenes.scene",
        "worldgen.scenes.physics.bodies"}  # fmt: skip


def imported(root: Path, module: str) -> set[str]:
    """The modules of `worldgen` that a module imports from, directly or through others, but for those of HOST."""
    found: set[str] = set()
    left = [module]
    while left:
        for node in ast.walk(ast.parse((root / f"{left.pop().replace('.', '/')}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("worldgen"):
                inner = (f"{node.module}.{alias.name}" for alias in node.names)
                names = [n if (root / f"{n.replace('.', '/')}.py").is_file() else str(node.module) for n in inner]
                left += {name for name in names if name not in found | HOST}
                found |= set(names) - HOST
    return found


@pytest.mark.parametrize("name", COMPILED)
def test_the_digest_of_compiled_code_covers_every_module_that_it_is_made_from(name: str, root: Path) -> None:
    sources = importlib.import_module(f"worldgen.scenes.{name}").SOURCES
    assert {module.__name__ for module in sources} == imported(root, f"worldgen.scenes.{name}")


@pytest.mark.parametrize("name", COMPILED)
def test_a_change_of_any_source_changes_the_digest(name: str, tmp_path: Path, monkeypatch) -> None:
    sources = importlib.import_module(f"worldgen.scenes.{name}").SOURCES
    before = source_digest(*sources)
    for module in sources:
        changed = tmp_path / "changed.py"
        changed.write_bytes(Path(module.__file__).read_bytes().replace(b"1", b"2", 1) + b"\n")
        with monkeypatch.context() as patch:
            patch.setattr(module, "__file__", str(changed))
            assert source_digest(*sources) != before, module.__name__
    assert source_digest(*sources) == before
