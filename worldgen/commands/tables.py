"""What tables of parts hold, for help texts: read from their source, for to load the tables is to load torch."""

import ast
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def solvers() -> str:
    """The keys of `worldgen.sampling.SOLVERS` as an enumeration."""
    return ", ".join(key for key, _ in _pairs("worldgen/sampling/solvers/__init__.py", "SOLVERS"))


def families() -> str:
    """Every scene family with what its scenes are (`worldgen.scenes.families.family.listed`)."""
    rows = []
    for key, row in _pairs("worldgen/scenes/families/family.py", "FAMILIES"):
        assert isinstance(row, ast.Call)
        moving = any(keyword.arg == "moves" and ast.literal_eval(keyword.value) for keyword in row.keywords)
        rows.append(f"{key} ({ast.literal_eval(row.args[0])}{'; moving' if moving else ''})")
    return ", ".join(rows)


def camera_formats(written: bool = False) -> str:
    """The formats of cameras that can be read, or written (`geometry.io.formats.listed`)."""
    names, does = [], {"writer"} if written else {"reader", "captures"}
    for row, values in _formats():
        _, holds, said = (ast.literal_eval(values.get(ast.unparse(part), part)) for part in row.args[:3])
        if "cameras" in holds and does & {keyword.arg for keyword in row.keywords}:
            names.append(said)
    return " or ".join([*([", ".join(names[:-1])] if names[1:] else []), *names[-1:]])


def _formats() -> Iterator[tuple[ast.Call, dict[str, ast.expr]]]:
    """The rows of the table of formats; of those made in a loop, with the values of its variables."""
    table = _value("geometry/io/formats.py", "FORMATS")
    assert isinstance(table, ast.DictComp) and isinstance(table.generators[0].iter, ast.Tuple)
    for row in table.generators[0].iter.elts:
        match row:
            case ast.Call():
                yield row, {}
            case ast.Starred(value=ast.GeneratorExp(elt=ast.Call() as inner, generators=[loop])):
                assert isinstance(loop.target, ast.Tuple) and isinstance(loop.iter, ast.Tuple)
                for values in loop.iter.elts:
                    assert isinstance(values, ast.Tuple)
                    yield inner, dict(zip(map(ast.unparse, loop.target.elts), values.elts))


def _pairs(path: str, table: str) -> list[tuple[str, ast.expr]]:
    value = _value(path, table)
    assert isinstance(value, ast.Dict), f"{path}: {table} is no dictionary"
    return [(ast.literal_eval(key), row) for key, row in zip(value.keys, value.values) if key is not None]


def _value(path: str, table: str) -> ast.expr:
    for node in ast.parse((_ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == table:
            assert node.value is not None
            return node.value
    raise AssertionError(f"{path}: no table {table}")
