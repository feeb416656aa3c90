"""No file that is read can run code: nothing in the packages unpickles, evaluates or calls a shell."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {
    "eval",
    "exec",
    "torch.load",
    "yaml.load",
    "yaml.load_all",
    "yaml.full_load",
    "yaml.unsafe_load",
    "os.system",
    "os.popen",
}
KEYWORDS = {"allow_pickle", "shell", "trust_remote_code"}


def unsafe(source: str) -> Iterator[str]:
    """The unsafe constructs of a source text, each with its line."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names if alias.name.partition(".")[0] in MODULES]
            case ast.ImportFrom(module=str(module), names=names):
                found = [f"{module}.{alias.name}" for alias in names]
                found = [name for name in found if module.partition(".")[0] in MODULES or name in CALLS]
            case ast.Call(func=function, keywords=keywords):
                found = [ast.unparse(function)] if ast.unparse(function) in CALLS else []
                found += [
                    f"{keyword.arg}={ast.unparse(keyword.value)}"
                    for keyword in keywords
                    if keyword.arg in KEYWORDS
                    and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
                ]
            case _:
                found = []
        yield from (f"line {node.lineno}: {name}" for name in found)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path, weights_only=True)",
        "from torch import load",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=trusted)",
        "yaml.load(text, Loader=yaml.Loader)",
        "eval(text)",
        "exec(text)",
        "os.system(command)",
        "subprocess.run(command, shell=True)",
        "def later():\n    import dill",
    ],
)
def test_each_unsafe_construct_is_found(source: str) -> None:
    assert list(unsafe(source))


@pytest.mark.parametrize(
    "source", ["model.eval()", "np.load(path)", "np.load(path, allow_pickle=False)", "yaml.safe_load(text)"]
)
def test_its_safe_neighbor_is_not(source: str) -> None:
    assert not list(unsafe(source))


def test_the_packages_and_examples_are_free_of_unsafe_constructs(root: Path) -> None:
    paths = [path for folder in ("geometry", "worldgen", "examples") for path in (root / folder).rglob("*.py")]
    found = [f"{path.relative_to(root)}, {what}" for path in paths for what in unsafe(path.read_text())]
    assert paths and found == []
