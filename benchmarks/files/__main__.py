"""Random assets written by us and read by others: `python -m benchmarks.files --count 200`.

Each format's files go to the libraries and validators that other people trust: plyfile, trimesh and Open3D for PLY and
OBJ, Khronos' gltf-validator for GLB (npm install gltf-validator@2.0.0-dev.3.10, or GLTF_VALIDATOR set to its folder),
every validator of USD, COLMAP, evo, PyAV and Pillow. What they find has to be what was written. Libraries that are not
installed are named in the table. Exits with 1 where a file was found wrong.
"""

import sys

from benchmarks.files.formats import FORMATS, check
from benchmarks.shared.report import Report, Table, command, publish

_MOST_MISSES = 20  # printed


def main() -> int:
    """Check the requested formats and publish a table."""
    parser = command(__doc__)
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), help=f"some of {', '.join(FORMATS)}")
    parser.add_argument("--count", type=int, default=200, help="random assets of each (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if unknown := set(given.formats) - set(FORMATS):
        parser.error(f"formats {sorted(unknown)}; expected some of {', '.join(FORMATS)}")
    rows, misses = [], []
    for name in given.formats:
        print(f"{name} ...", file=sys.stderr, flush=True)
        tally = check(name, given.count, given.seed)
        judges = ", ".join(f"{judge} ({n})" if n else f"{judge} (not installed)" for judge, n in tally.checked.items())
        rows.append((name, given.count, judges, len(tally.wrong)))
        misses += [f"{name}: {line}" for line in tally.wrong]
    table = Table.of({"format": "", "assets": "", "checked by": "", "found wrong": ""}, rows)
    notes = ["Random assets written by our writers; what other people's readers find has to be what was written."]
    return publish(Report.now("Files read by others", [table], notes, misses[:_MOST_MISSES]), given.report)


if __name__ == "__main__":
    sys.exit(main())
