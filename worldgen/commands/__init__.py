"""The commands, one file each. Each runs the same function as the Python API.

A command is a frozen dataclass whose fields are its options and whose `run` does the work; `COMMANDS` names them all.
"""

import sys
from dataclasses import is_dataclass
from difflib import get_close_matches
from importlib.metadata import version
from inspect import cleandoc
from typing import Annotated, Any, Protocol, Union, get_args, get_type_hints, runtime_checkable

import tyro

from worldgen.commands.average import Average
from worldgen.commands.blend import Blend
from worldgen.commands.cameras import CameraTools
from worldgen.commands.curate import Curate
from worldgen.commands.evaluate import Evaluate
from worldgen.commands.options import BETTER
from worldgen.commands.orbit import Orbit
from worldgen.commands.plan import Plan
from worldgen.commands.scenes import Scenes
from worldgen.commands.train import Train
from worldgen.commands.train_codec import TrainCodec
from worldgen.weights import ABOUT

__all__ = ["COMMANDS", "Command", "parse"]


@runtime_checkable
class Command(Protocol):
    """What `parse` returns: options that can be run."""

    def run(self) -> None:
        """Do it."""
        ...


COMMANDS: dict[str, type[Command]] = {
    "orbit": Orbit,
    "train": Train,
    "average": Average,
    "blend": Blend,
    "train-codec": TrainCodec,
    "plan": Plan,
    "evaluate": Evaluate,
    "scenes": Scenes,
    "curate": Curate,
    "cameras": CameraTools,
}


DESCRIPTION = f"""A world model you steer with a camera and take apart as geometry.

The weights in the package, tiny and tiny-4, are
{ABOUT}: {BETTER}.

`worldgen COMMAND --help` has the options of a command, `worldgen --version` the version."""


def parse(arguments: list[str]) -> Command:
    """Parse the options of a command; prints help or the usage error and exits (0 or 2) otherwise.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The command's dataclass, one of `COMMANDS`.
    """
    chosen, rest = _chosen(arguments)
    if "--version" in arguments[:1]:
        print(f"worldgen {version('worldgen')}")
        raise SystemExit(0)
    if unknown := _unknown(chosen, rest):
        print(f"worldgen: {unknown}", file=sys.stderr)
        raise SystemExit(2)
    if chosen:
        kind: Any = _kinds(chosen)
        return tyro.cli(kind, prog=" ".join(["worldgen", *chosen]), args=rest, description=cleandoc(kind.__doc__ or ""))
    commands = [Annotated[kind, tyro.conf.subcommand(name)] for name, kind in COMMANDS.items()]
    every: Any = Union[tuple(commands)]  # noqa: UP007
    return tyro.cli(every, prog="worldgen", args=arguments, description=DESCRIPTION)


def _parts(kind: type) -> dict[str, type]:
    """The commands below a command, such as those of `evaluate`."""
    hint = get_type_hints(kind, include_extras=True).get("what")
    found: dict[str, type] = {}
    for part in get_args(get_args(hint)[0]) if hint is not None else ():
        inner, *notes = get_args(part)
        found |= {note.name: inner for note in notes if getattr(note, "name", None)}
    return found


def _kinds(chosen: list[str]) -> type:
    """The dataclass of a command line's commands."""
    kind: type = COMMANDS[chosen[0]]
    return _parts(kind)[chosen[1]] if chosen[1:] else kind


def _chosen(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The commands at the beginning of a command line, and the rest of it."""
    if not arguments or arguments[0] not in COMMANDS:
        return [], arguments
    count = 2 if arguments[1:] and arguments[1] in _parts(COMMANDS[arguments[0]]) else 1
    return arguments[:count], arguments[count:]


def _unknown(chosen: list[str], rest: list[str]) -> str | None:
    """What is wrong where a command or an option is none, with the one that was probably meant."""
    place = " ".join(["worldgen", *chosen])
    names = list(_parts(_kinds(chosen)) if chosen else COMMANDS)
    if names and rest and not rest[0].startswith("-"):
        return f"no command {rest[0]!r}; {_nearest(rest[0], names)} (see {place} --help)"
    if names:
        return None
    known = _options(_kinds(chosen))
    for word in rest:
        name = word.partition("=")[0]
        if name.startswith("--") and name[2:] and not name.startswith("--tyro-"):
            name = "--" + name[2:].replace("_", "-")
            if name not in known:
                return f"no option {name}; {_nearest(name, known)} (see {place} --help)"
    return None


def _nearest(word: str, names: list[str]) -> str:
    """The name that was probably meant, or where none is near, all."""
    near = get_close_matches(word, names, 1)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(names)}"


def _options(kind: Any, prefix: str = "") -> list[str]:
    """The options of a command as they are typed, those of values it takes apart included."""
    found = [] if prefix else ["--help"]
    positional = get_args(tyro.conf.Positional[int])[1]
    for name, hint in get_type_hints(kind, include_extras=True).items():
        notes = getattr(hint, "__metadata__", ())
        if positional in notes:
            continue
        inner = get_args(hint)[0] if notes else hint
        typed = prefix + name.replace("_", "-")
        if is_dataclass(inner):
            bare = any(getattr(note, "name", None) == "" for note in notes)
            found += _options(inner, prefix if bare else f"{typed}.")
        else:
            aliases = [alias for note in notes for alias in getattr(note, "aliases", None) or ()]
            found += [f"--{typed}", *(alias for alias in aliases if alias.startswith("--"))]
    return found
