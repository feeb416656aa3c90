"""Files, functions and folders stay small enough to be read, and no name hides a module."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = ("geometry", "worldgen", "benchmarks", "examples", "tests")
LONGEST_FILE, LONGEST_FUNCTION, MOST_MODULES = 400, 60, 16
MANY_MODULES = {"worldgen/commands"}  # one file a command


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Every function of a text, those within others too, with its number of lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def shadows(package: str, source: str, inside: set[str]) -> list[str]:
    """Names that a package's `__init__` binds or promises and that are names of its modules, without being them."""
    names, modules = set(), set()
    for node in ast.parse(source).body:
        match node:
            case ast.ImportFrom(module=module, names=aliases) if module == package:
                modules |= {alias.name for alias in aliases}
            case ast.ImportFrom(names=aliases):
                names |= {alias.asname or alias.name for alias in aliases}
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=elements)):
                names |= {str(element.value) for element in elements if isinstance(element, ast.Constant)} - modules
    return sorted(names & inside)


@pytest.fixture(scope="module")
def texts(root: Path) -> dict[str, str]:
    """Every Python file of the repository by its path."""
    paths = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))]
    return {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in paths}


def test_no_file_is_long(texts: dict[str, str]) -> None:
    assert [path for path, text in texts.items() if len(text.splitlines()) > LONGEST_FILE] == []


def test_no_function_is_long(texts: dict[str, str]) -> None:
    found = [f"{path}: {name}" for path, text in texts.items() for name, n in functions(text) if n > LONGEST_FUNCTION]
    assert found == []


def test_the_main_path_fits_on_a_screen(texts: dict[str, str]) -> None:
    assert len(texts["worldgen/pipelines/orbit.py"].splitlines()) <= 120
    network = dict(functions(texts["worldgen/models/network/dit.py"]))
    forward = {name: length for name, length in network.items() if name.endswith("forward")}
    assert forward and max(forward.values()) <= 40, forward


def test_no_folder_holds_many_modules(texts: dict[str, str]) -> None:
    folders = [str(Path(path).parent) for path in texts if not path.endswith("__init__.py")]
    many = sorted({folder for folder in folders if folders.count(folder) > MOST_MODULES} - MANY_MODULES)
    assert many == []


def test_no_package_exports_a_name_that_hides_one_of_its_modules(texts: dict[str, str]) -> None:
    found = []
    for path, text in texts.items():
        if path.endswith("__init__.py"):
            folder = Path(path).parent
            below = [Path(p).relative_to(folder) for p in texts if folder in Path(p).parents]
            inside = {p.parts[0].removesuffix(".py") for p in below}
            found += [f"{path}: {name}" for name in shadows(".".join(folder.parts), text, inside)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from a.lint import lint", ["lint"]),
        ("from a.rules import check as lint", ["lint"]),
        ("def lint(): pass", ["lint"]),
        ("__all__ = ['lint', 'other']", ["lint"]),
        ("from a import lint\n__all__ = ['lint']", []),
        ("from a.lint import find_faults", []),
    ],
)
def test_a_name_that_hides_a_module_is_found(text: str, found: list[str]) -> None:
    assert shadows("a", text, {"lint", "rules"}) == found


def test_the_length_of_a_function_is_that_of_its_own_lines() -> None:
    text = "def outer():\n    def inner():\n        return 1\n    return inner\n\n\nclass A:\n    def m(self): ...\n"
    assert list(functions(text)) == [("outer", 4), ("inner", 2), ("m", 1)]
