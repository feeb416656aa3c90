"""The code blocks of the documentation, and how they are run.

A fence's first word is its language, what follows are options:

    ```python                              executed, in the namespace of the blocks above it on the page
    ```python no-run: it needs a network   compiled only, for the reason given
    ```bash                                every line is checked: `worldgen ...` by the real parser of options
    ```bash run                            its `worldgen ...` lines are run
    ```yaml file=shot.yaml                 written to that file, for the blocks below it
"""

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

from worldgen.cli import main
from worldgen.commands import parse

_FENCE = re.compile(r"^( *)(`{3,})(\w+)?([^\n`]*)\n(.*?)^\1\2$", re.MULTILINE | re.DOTALL)
_TEST = re.compile(r"def (test_\w+)")
_VARIABLE = re.compile(r"[A-Z_]+=\S+")


@dataclass(frozen=True)
class Snippet:
    """A fenced block of a page, from the line after its fence on."""

    page: Path
    line: int
    language: str
    options: str
    text: str

    @property
    def where(self) -> str:
        """The page and line, for messages."""
        return f"{self.page.name}:{self.line}"


def snippets(page: Path) -> list[Snippet]:
    """The fenced blocks of a page that name a language, from top to bottom."""
    text = page.read_text("utf-8")
    return [
        Snippet(page, text.count("\n", 0, match.start(5)) + 1, match[3], match[4].strip(), textwrap.dedent(match[5]))
        for match in _FENCE.finditer(text)
        if match[3]
    ]


def execute(snippet: Snippet, names: dict) -> None:
    """Run a block of Python in a namespace, so that errors name the page's line."""
    code = compile("\n" * (snippet.line - 1) + snippet.text, str(snippet.page), "exec")
    if not snippet.options.startswith("no-run: "):
        exec(code, names)


def commands(snippet: Snippet) -> list[list[str]]:
    """The command lines of a shell block as words, without comments and variables before them."""
    found = []
    for line in snippet.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and _VARIABLE.fullmatch(words[0]):
            words.pop(0)
        found += [words] if words else []
    return found


def check(words: list[str], root: Path) -> None:
    """A command line names what is there, and the parser of options takes it."""
    match words:
        case ["worldgen", *options]:
            parsed(options)
        case ["torchrun", *options]:
            parsed(options[options.index("worldgen") + 1 :])
        case ["make", *targets]:
            makefile = (root / "Makefile").read_text("utf-8")
            assert all(f"\n{target}:" in makefile for target in targets), words
        case ["python", "-m", module, *_]:
            path = root / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), words
        case ["python", script, *_]:
            assert (root / script).exists(), words
        case ["pytest", *options]:
            check_tests(options, root)
        case ["pip", "install", *_]:
            pass
        case _:
            raise AssertionError(f"{shlex.join(words)}: a command that no test knows")


def check_tests(options: list[str], root: Path) -> None:
    """The paths for pytest exist, and the words of `-k` are in the names of tests there."""
    paths = [root / word for word in options if word.startswith("tests")] or [root / "tests"]
    assert all(path.exists() for path in paths), options
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("test_*.py"))]
    names = "\n".join(text for file in files for text in (file.as_posix(), *_TEST.findall(file.read_text("utf-8"))))
    if "-k" in options:
        expression = options[options.index("-k") + 1]
        words = set(re.findall(r"\w+", expression)) - {"and", "or", "not"}
        unknown = sorted(word for word in words if word not in names)
        assert not unknown, f"-k {expression}: no test has {unknown} in its name"


def parsed(options: list[str]) -> None:
    """The parser of options takes them."""
    try:
        parse(options)
    except SystemExit as error:
        raise AssertionError(f"worldgen {shlex.join(options)}: refused by the parser of options") from error


def run(words: list[str]) -> None:
    """Run a `worldgen` command, which must succeed."""
    assert words[0] == "worldgen", words
    assert main(words[1:]) == 0, shlex.join(words)
