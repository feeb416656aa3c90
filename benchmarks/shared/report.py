"""What a benchmark found, in one form for all of them: printed as tables, and kept as a file that the docs show.

`python -m benchmarks.NAME --report FILE` writes the file:

    {
      "title":    "3D Gaussians fitted to tabletops",
      "command":  "python -m benchmarks.splats --scenes 4",
      "date":     "2025-01-31",
      "machine":  {"processor": "...", "cores": 2, "threads": 1, "load": 0.4, "device": "cpu", "python": "...",
                   "torch": "..."},
      "notes":    ["one sentence each, of what was measured and how to read it"],
      "tables":   [{"title": "", "columns": ["scene", "PSNR dB"], "formats": ["", ".2f"], "rows": [["0", 28.31]]}],
      "misses":   ["what was promised and not reached; empty where all is well"]
    }

A cell is a text, a number, null (nothing was measured), or an interval {"mean", "low", "high"} of numbers or nulls, so
that no figure is lost to rounding; `formats` gives how a column's numbers are printed (a Python format such as ".2f").
A table may have "notes" of its own, and the report "images": [{"file": "below docs", "caption": "..."}].
"""

import argparse
import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geometry.errors import InputError
from geometry.io.files import write_file

if TYPE_CHECKING:
    from worldgen.evaluation.metrics.intervals import Interval

Cell = str | int | float | None | Mapping[str, float | int | None]
NOTHING = "–"


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns.

    title    of a report's several tables; "" where there is one
    columns  names, each once
    formats  how the numbers of each column are printed; "" as they are
    notes    of this table alone
    """

    title: str
    columns: tuple[str, ...]
    formats: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = {len(self.columns), len(self.formats), *map(len, self.rows)}
        if len(lengths) != 1 or len(set(self.columns)) != len(self.columns):
            raise ValueError(
                f"table of columns {list(self.columns)} with rows and formats of {sorted(lengths)} cells; expected "
                "different columns, and a format and a cell in every row for each"
            )

    @staticmethod
    def of(
        columns: Mapping[str, str], rows: Sequence[Sequence["Cell | Interval"]], title: str = "",
        notes: Sequence[str] = (),
    ) -> "Table":  # fmt: skip
        """A table of columns given as name -> format."""
        cells = tuple(tuple(_cell(value) for value in row) for row in rows)
        return Table(title, tuple(columns), tuple(columns.values()), cells, tuple(notes))

    @staticmethod
    def read(data: Mapping[str, Any]) -> "Table":
        """A table of a report's file; formats may be missing there."""
        formats = data.get("formats") or [""] * len(data["columns"])
        rows = tuple(tuple(row) for row in data["rows"])
        notes = tuple(data.get("notes", ()))
        return Table(data.get("title", ""), tuple(data["columns"]), tuple(formats), rows, notes)

    def markdown(self) -> str:
        """The table in Markdown, without its title."""
        printed = [[shown(cell, how) for cell, how in zip(row, self.formats)] for row in self.rows]
        lines = [self.columns, ["---"] * len(self.columns), *printed]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Report:
    """A benchmark's result; the module's docstring has the file's form.

    command  that makes it again, from the repository's root
    machine  what it ran on (`machine`)
    misses   promises that were not kept: the command exits with 1 if there are any
    images   for the documentation: file and caption
    """

    title: str
    command: str
    date: str
    machine: Mapping[str, str | int | float]
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    misses: tuple[str, ...] = ()
    images: tuple[Mapping[str, str], ...] = ()

    @staticmethod
    def now(
        title: str, tables: Sequence[Table], notes: Sequence[str] = (), misses: Sequence[str] = (), device: str = "cpu"
    ) -> "Report":
        """The report of the command that is running, made today on this machine."""
        path = Path(sys.argv[0]).with_suffix("").parts
        below = path[len(path) - path[::-1].index("benchmarks") :] if "benchmarks" in path else path[-1:]
        name = ".".join(["benchmarks", *(part for part in below if part != "__main__")])
        command = shlex.join(["python", "-m", name, *_without_report(sys.argv[1:])])
        today = datetime.now(UTC).date().isoformat()
        return Report(title, command, today, machine(device), tuple(notes), tuple(tables), tuple(misses))

    @staticmethod
    def read(path: Path) -> "Report":
        """A report from its file."""
        data = json.loads(path.read_text("utf-8"))
        tables = tuple(Table.read(table) for table in data["tables"])
        lists = {name: tuple(data.get(name, ())) for name in ("notes", "misses", "images")}
        head = (data[name] for name in ("title", "command", "date", "machine"))
        return Report(*head, tables=tables, **lists)

    def write(self, path: Path) -> None:
        """Write the file. Raises InputError where that is impossible."""
        data = asdict(self)
        if not self.images:
            del data["images"]
        for table in data["tables"]:
            if not table["notes"]:
                del table["notes"]
        text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False)
        write_file(path, (text + "\n").encode())

    def markdown(self) -> str:
        """The tables with their titles, the notes and the misses."""
        parts = []
        for table in self.tables:
            parts += [f"## {table.title}" if table.title else "", *table.notes, table.markdown()]
        parts += self.notes
        parts += ["Missed:\n\n" + "\n".join(f"- {miss}" for miss in self.misses)] if self.misses else []
        return "\n\n".join(part for part in parts if part)


def shown(cell: Cell, how: str = "") -> str:
    """A cell as text: numbers by the format, an interval as `mean [low, high]`, nothing as a dash."""
    if cell is None:
        return NOTHING
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int | float):
        return format(cell, how)
    if cell["mean"] is None:
        return NOTHING
    return f"{shown(cell['mean'], how)} [{shown(cell['low'], how)}, {shown(cell['high'], how)}]"


def machine(device: str = "cpu") -> dict[str, str | int | float]:
    """What a benchmark runs on: processor, cores, threads of torch, load of the last minute, device and versions."""
    import torch

    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return {
        "processor": _processor(), "cores": os.cpu_count() or 1, "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2), "device": gpu, "python": platform.python_version(),
        "torch": torch.__version__,
    }  # fmt: skip


def command(about: str | None) -> argparse.ArgumentParser:
    """A parser of a benchmark's options: its docstring as help, and `--report FILE`."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the result as JSON")
    return parser


def publish(report: Report, *paths: Path | None) -> int:
    """Print a report and write it to the paths that are not None.

    Returns the command's exit code: 1 where something was missed, else 0.
    """
    print(report.markdown())
    for path in paths:
        if path is not None:
            report.write(path)
    return int(bool(report.misses))


def missing(what: str, error: ImportError | InputError) -> str:
    """A note for what was left out because a library is not installed."""
    return f"{what}: left out, {error}"


def reporting_errors(main: Callable[[], int]) -> Callable[[], int]:
    """`main` with bad input as one line and exit code 2."""

    @wraps(main)
    def run() -> int:
        try:
            return main()
        except InputError as error:
            print(error, file=sys.stderr)
            return 2

    return run


def _cell(value: "Cell | Interval") -> Cell:
    """An interval as plain data; a number that is not finite, which JSON cannot hold, as nothing."""
    if is_dataclass(value):
        return {name: value for name, value in asdict(value).items() if name != "scenes"}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _without_report(options: list[str]) -> list[str]:
    """The options less `--report FILE`, which does not change what is measured."""
    kept, skip = [], False
    for option in options:
        if skip or option.startswith("--report="):
            skip = False
        elif option == "--report":
            skip = True
        else:
            kept.append(option)
    return kept


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
