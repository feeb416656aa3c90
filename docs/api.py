"""The API reference: a page for each package, made of its `__all__` and its docstrings."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Mapping

TOP = ("geometry", "worldgen")
_MARKUP = r"(?<!\\)\*|(?<!\\)\|(?=\S)|(?<=\S)(?<!\\)\|"


def pages() -> dict[str, str]:
    """By package that has an `__all__`: its page.

    A class or function that several packages export is described in the innermost of them; the others name that one.
    """
    names = public_names()
    homes: dict[int, tuple[str, str]] = {}
    for package in sorted(names, key=lambda name: -name.count(".")):
        for name in names[package]:
            value = getattr(importlib.import_module(package), name)
            if _described(value):
                homes.setdefault(id(value), (package, name))
    return {package: _page(package, listed, homes) for package, listed in names.items()}


def public_names() -> dict[str, list[str]]:
    """By package: what its `__all__` promises, in alphabetical order."""
    found = {}
    for top in map(importlib.import_module, TOP):
        inner = [item.name for item in pkgutil.walk_packages(top.__path__, f"{top.__name__}.") if item.ispkg]
        for package in (top, *map(importlib.import_module, inner)):
            if getattr(package, "__all__", None):
                found[package.__name__] = sorted(package.__all__, key=str.lower)
    return found


def _described(value: object) -> bool:
    """Whether a value is described by itself: equal constants may be one object."""
    return inspect.isclass(value) or inspect.isroutine(value)


def _page(package: str, names: list[str], homes: dict[int, tuple[str, str]]) -> str:
    """What a package says of itself, then an entry for each of its names."""
    module = importlib.import_module(package)
    parts = [f"# {package}", _directive("automodule", package, "no-members")]
    for name in names:
        value, entry = getattr(module, name), f"{package}.{name}"
        home = ".".join(homes.get(id(value), (package, name)))
        if home != entry:
            parts.append(f"`{entry}` is {{py:obj}}`{home}`.")
        elif inspect.isclass(value):
            parts.append(_directive("autoclass", entry, "members"))
        elif inspect.isroutine(value):
            parts.append(_directive("autofunction", entry))
        else:
            parts.append(_directive("py:data", entry, text=_entries(value)))
    return "\n\n".join(parts) + "\n"


def _directive(kind: str, name: str, *options: str, text: str = "") -> str:
    """A directive of reStructuredText inside Markdown."""
    lines = [f".. {kind}:: {name}", *(f"   :{option}:" for option in options), "", f"   {text}".rstrip()]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def _entries(value: object) -> str:
    """What a constant holds: the keys of a table, or the type of anything else."""
    if isinstance(value, Mapping):
        return f"A table of {', '.join(f'``{key}``' for key in value)}."
    return f"A ``{type(value).__name__}``."


def process_signature(
    _app: object, _what: str, _name: str, _obj: object, _options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Sphinx's hook: defaults that a dataclass makes anew are dots, which can be parsed."""
    return signature and signature.replace("<factory>", "..."), returns


def process_docstring(_app: object, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Sphinx's hook: the repository's short form of docstrings as reStructuredText, in place."""
    lines[:] = readable(lines)


def readable(lines: Iterable[str]) -> list[str]:
    """The short form as reStructuredText.

    Aligned lines (`name   what it is`) become lists, what is indented below a colon code. The stars of shapes
    (`[*b, 3]`), bars (`|x|`) and the plurals of names in backticks are no markup.
    """
    result: list[str] = []
    block = ""  # what the line above belongs to: "list", "code" or nothing
    for line in lines:
        if line.startswith("    ") and (block == "code" or _opens_code(result)):
            result += [line] if block == "code" else ["::", "", line]
            block = "code"
        elif entry := re.fullmatch(r"(\w[\w.]*(?:, \w+)*) {2,}(\S.*)", line):
            item = f"- ``{entry[1]}``: {_escaped(entry[2])}"
            result += [item] if block == "list" else ["", item]
            block = "list"
        elif block == "list" and line.startswith("  "):
            result.append(f"  {_escaped(line.strip())}")
        elif block == "code" and not line:
            result.append(line)
        else:
            result += ["", _escaped(line)] if block and line else [_escaped(line)]
            block = ""
    return result


def _opens_code(above: list[str]) -> bool:
    """Whether the lines so far end with a colon and an empty line, outside the fields of arguments."""
    return len(above) > 1 and not above[-1] and re.fullmatch(r"[^: ].*[^:]:", above[-2]) is not None


def _escaped(line: str) -> str:
    """A line without accidental markup, but for code between backticks."""
    text, *rest = re.split(r"(`+[^`]*`+)", line)
    line = re.sub(_MARKUP, r"\\\g<0>", text)
    for code, text in zip(rest[::2], rest[1::2]):
        plural = "\\ " if text[:1].isalnum() else ""  # a letter right behind backticks needs an escaped space
        line += code + plural + re.sub(_MARKUP, r"\\\g<0>", text)
    return line
