"""Which module imports which: `python -m tests.repository.import_graph` prints cycles, upward arrows and all arrows.

An import counts wherever it stands: at the top of a module, inside a function, under TYPE_CHECKING. A room is a
top-level package or module of `worldgen`, or `geometry` as a whole; an arrow says that one room imports another.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGES = ("geometry", "worldgen")
# Lowest first: a room imports only from lower ones. Rooms beside each other import from neither side.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("geometry", "weights"), ("runtime",), ("core",), ("sampling",), ("models",), ("scenes",), ("data",),
    ("pipelines",), ("evaluation",), ("training",), ("commands",), ("__init__", "cli"), ("__main__",),
)  # fmt: skip

Graph = Mapping[str, set[str]]


def modules(root: Path) -> dict[str, Path]:
    """Every module of the packages by its dotted name."""
    paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def graph(sources: Mapping[str, str]) -> Graph:
    """The modules that each module imports, of texts by module name; an imported name counts as its module."""
    return {name: set(_imports(source, set(sources))) - {name} for name, source in sources.items()}


def _imports(source: str, known: set[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name in known)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                found = (f"{module}.{alias.name}" for alias in names)
                yield from (name for name in (n if n in known else module for n in found) if name in known)
            case ast.ImportFrom(level=level) if level:
                raise ValueError(f"line {node.lineno}: a relative import; expected absolute ones")
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(module)), *_],
            ) if module in known:
                yield module


def cycles(arrows: Graph) -> list[list[str]]:
    """The groups of nodes that all reach each other, each sorted."""
    reached = {node: _reachable(node, arrows) for node in arrows}
    groups = {
        tuple(sorted({node} | {n for n in found if node in reached.get(n, ())})) for node, found in reached.items()
    }
    return [list(group) for group in sorted(groups) if len(group) > 1]


def _reachable(start: str, arrows: Graph) -> set[str]:
    found: set[str] = set()
    left = [start]
    while left:
        new = arrows.get(left.pop(), set()) - found
        found |= new
        left += new
    return found


def room(module: str) -> str:
    """The room of a module."""
    parts = module.split(".")
    if parts[0] == "geometry":
        return "geometry"
    return parts[1] if len(parts) > 1 else "__init__"


def room_arrows(arrows: Graph) -> Graph:
    """The rooms that each room imports from."""
    found: dict[str, set[str]] = {}
    for module, imported in arrows.items():
        found.setdefault(room(module), set()).update(room(other) for other in imported)
    return {name: others - {name} for name, others in found.items()}


def upward(arrows: Graph) -> list[str]:
    """Imports of a room from one that is not below it, as `module -> module`; a room without a layer is an error."""
    rank = {name: place for place, names in enumerate(LAYERS) for name in names}
    if unknown := {room(module) for module in arrows} - set(rank):
        raise ValueError(f"rooms {sorted(unknown)} without a layer; expected each in LAYERS")
    return sorted(
        f"{module} -> {other}"
        for module, imported in arrows.items()
        for other in imported
        if room(module) != room(other) and rank[room(other)] >= rank[room(module)]
    )


def read(root: Path) -> Graph:
    """The import graph of the packages in a checkout."""
    return graph({name: path.read_text("utf-8") for name, path in modules(root).items()})


def main() -> int:
    """Print the graph of this checkout; 1 where it has a cycle or an upward arrow."""
    arrows = read(Path(__file__).resolve().parents[2])
    rooms = room_arrows(arrows)
    print(f"{len(arrows)} modules, {sum(map(len, arrows.values()))} imports")
    print(f"{len(rooms)} rooms, {sum(map(len, rooms.values()))} arrows between them")
    for name, others in sorted(rooms.items()):
        print(f"  {name} -> {', '.join(sorted(others)) or 'nothing'}")
    loops, wrong = cycles(arrows), upward(arrows)
    print(f"{len(loops)} cycles" + "".join(f"\n  {', '.join(loop)}" for loop in loops))
    print(f"{len(wrong)} upward arrows" + "".join(f"\n  {arrow}" for arrow in wrong))
    return int(bool(loops or wrong))


if __name__ == "__main__":
    sys.exit(main())
