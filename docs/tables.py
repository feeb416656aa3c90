"""What the tables of parts hold, as Markdown tables for the pages."""

from collections.abc import Sequence

from benchmarks.shared.report import Table
from geometry.io.formats import FORMATS, Format
from geometry.trajectory.moves import MOVES, MoveSpec
from worldgen.commands import COMMANDS
from worldgen.sampling.solvers import SOLVERS
from worldgen.scenes.families.family import FAMILIES, Family


def tables() -> dict[str, str]:
    """By name of the table: its rows."""
    moves = [_move(name, move) for name, move in MOVES.items()]
    solvers = [(f"`{name}`", said(type(solver))) for name, solver in SOLVERS.items()]
    formats = [_format(row) for row in FORMATS.values()]
    commands = [(f"`{name}`", said(command)) for name, command in COMMANDS.items()]
    families = [_family(name, family) for name, family in FAMILIES.items()]
    return {
        "moves": _table(("move", "measures", "further arguments", "what it does"), moves),
        "solvers": _table(("solver", "what it is"), solvers),
        "formats": _table(("format", "holds", "read", "written", "needs"), formats),
        "commands": _table(("command", "what it does"), commands),
        "families": _table(("family", "what it shows", "things move", "needs"), families),
    }


def said(part: object) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((part.__doc__ or "").split("\n\n")[0].split())


def _move(name: str, move: MoveSpec) -> tuple[str, ...]:
    arguments = ", ".join(f"`{argument}` ({quantity})" for argument, quantity in move.arguments.items())
    return f"`{name}`", move.by, arguments, move.doc


def _format(row: Format) -> tuple[str, ...]:
    read, written = ("yes" if way else "" for way in (row.reader or row.captures, row.writer))
    return row.help, ", ".join(row.holds), read, written, f"`[{row.extra}]`" if row.extra else ""


def _family(name: str, family: Family) -> tuple[str, ...]:
    return f"`{name}`", family.summary, "yes" if family.moves else "", "`[fast]`" if family.needs_numba else ""


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return Table.of(dict.fromkeys(columns, ""), rows).markdown() + "\n"
