"""The pages that are made of data, written into docs/_generated: results, the API, model cards, the tree of files."""

import ast
import json
import re
from pathlib import Path
from typing import Any

from benchmarks.shared.report import Table
from docs import api, tables

FOLDERS = ("geometry", "worldgen", "examples", "benchmarks", "configs")


def write(root: Path, folder: Path) -> None:
    """Write every generated page, and remove those that are none any more."""
    pages = {f"results/{path.stem}": results_page(json.loads(path.read_text("utf-8"))) for path in result_files(root)}
    pages |= {f"models/{card.parent.name}": card.read_text("utf-8") for card in model_cards(root)}
    pages |= {f"api/{package}": page for package, page in api.pages().items()}
    pages |= {f"tables/{name}": table for name, table in tables.tables().items()}
    pages["tree"] = tree_page(tree(root))
    for name, text in pages.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:  # what has not changed is not built again
            path.write_text(text, encoding="utf-8")
    for path in folder.rglob("*.md"):
        if path.relative_to(folder).with_suffix("").as_posix() not in pages:
            path.unlink()


def result_files(root: Path) -> list[Path]:
    """The report files of all benchmarks and evaluations."""
    return sorted((root / "docs" / "results").glob("*.json"))


def results_page(data: dict[str, Any]) -> str:
    """The page of one report: its command, when and where it ran, what missed its target, notes and tables.

    The form is that of `benchmarks.shared.report`; tables may have notes of their own, and a report images (a file
    below docs, and its caption).
    """
    machine = "; ".join(
        f"{value}" if name == "processor" else f"{name} {value}" for name, value in data["machine"].items()
    )
    parts = [f"# {data['title']}", f"```bash\n{data['command']}\n```", f"{data['date']}. {machine}."]
    if data["misses"]:
        parts.append("Targets missed:\n\n" + "\n".join(f"- {miss}" for miss in data["misses"]))
    parts += data["notes"]
    for table in data["tables"]:
        parts += [f"## {table['title']}"] if table["title"] else []
        parts += [*table.get("notes", ()), _unbroken(Table.read(table).markdown())]
    parts += [f"```{{figure}} /{image['file']}\n\n{image['caption']}\n```" for image in data.get("images", ())]
    return "\n\n".join(parts) + "\n"


def _unbroken(table: str) -> str:
    """A table in small print, whose intervals stay on one line."""
    return "{.figures}\n" + re.sub(r"(?<=\S) (\[[^ \]]*) ?([^ \]]*\])", "\u00a0\\1\u00a0\\2", table)


def model_cards(root: Path) -> list[Path]:
    """The cards of the embedded models and codecs."""
    return sorted((root / "worldgen" / "weights").glob("*/README.md"))


def tree(root: Path) -> dict[str, str]:
    """By path from the root: what each module, example and configuration says of itself, in a sentence."""
    said = {}
    for folder in FOLDERS:
        files = [path.relative_to(root) for kind in ("*.py", "*.yaml") for path in (root / folder).rglob(kind)]
        for path in sorted(files, key=lambda path: (path.parts[:-1], path.name)):  # each folder before those inside it
            if not {"tests", "__pycache__"} & set(path.parts):
                said[path.as_posix()] = first_sentence(root / path)
    return said


def first_sentence(path: Path) -> str:
    """The first sentence of a module's docstring, or of a configuration's first comment."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
    else:
        comment = re.match(r"(#.*\n)*", text)
        said = re.sub(r"^# ?", "", comment[0] if comment else "", flags=re.MULTILINE)
    paragraph = " ".join(said.split("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z`])", paragraph)[0].rstrip(".")


def tree_page(files: dict[str, str]) -> str:
    """The tree as a page: a section a folder, a line a file."""
    parts = ["# The tree", "Every module, example and configuration, by what it says of itself."]
    for folder in dict.fromkeys(path.rpartition("/")[0] for path in files):
        names = {path.rpartition("/")[2]: said for path, said in files.items() if path.rpartition("/")[0] == folder}
        parts += [f"## {folder}", names.pop("__init__.py", "")]
        parts.append("\n".join(f"- `{name}`: {_escaped(said)}" for name, said in names.items()))
    return "\n\n".join(part for part in parts if part) + "\n"


def _escaped(text: str) -> str:
    """Text whose stars, underscores and brackets are no Markdown, but for code between backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*_\[\]<>])", r"\\\1", part) for part in parts)
