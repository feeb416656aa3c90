"""Results pages of evaluations: `python -m docs.evaluations out/evaluation docs/results/orbit.json`.

Puts the tables of what `worldgen evaluate` wrote (its report.md) into a results page's file, and today's date and this
machine. Title, command and notes are people's, and stay as they are.
"""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.shared.report import NOTHING, Report, Table, command, machine, reporting_errors
from geometry.errors import InputError

MACHINE = ("processor", "cores", "threads", "torch")


def tables_of(text: str) -> list[Table]:
    """The tables of a Markdown report, each under its heading; what is not there (a dash) is nothing."""
    tables, title, lines = [], "", []
    for line in [*text.splitlines(), ""]:
        if line.startswith("## "):
            title = line.removeprefix("## ")
        if line.startswith("|"):
            lines.append([cell.strip() for cell in line.strip("|").split("|")])
        elif lines:
            columns, _, *rows = lines
            cells = tuple(tuple(None if cell == NOTHING else cell for cell in row) for row in rows)
            tables.append(Table(title, tuple(columns), ("",) * len(columns), cells))
            lines = []
    return tables


@reporting_errors
def main() -> int:
    """Update a results page's file."""
    parser = command(__doc__)
    parser.add_argument("evaluation", type=Path, help="output folder of worldgen evaluate")
    parser.add_argument("page", type=Path, help="the file in docs/results to update")
    arguments = parser.parse_args()
    source = arguments.evaluation / "report.md"
    if not source.is_file() or not arguments.page.is_file():
        raise InputError(f"{source} and {arguments.page}; expected the report of an evaluation, and a results page")
    tables = tables_of(source.read_text("utf-8"))
    if not tables:
        raise InputError(f"{source}: no tables; expected the report of an evaluation")
    facts = {name: value for name, value in machine().items() if name in MACHINE}
    date = datetime.now(UTC).date().isoformat()
    page = replace(Report.read(arguments.page), tables=tuple(tables), date=date, machine=facts)
    page.write(arguments.page)
    print(json.dumps({"page": str(arguments.page), "tables": [table.title for table in tables]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
