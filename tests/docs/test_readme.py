"""The README is short, and its links lead somewhere."""

import re
from pathlib import Path

from docs.generate import tree


def test_the_readme_is_at_most_160_lines(root: Path) -> None:
    assert len((root / "README.md").read_text("utf-8").splitlines()) <= 160


def test_every_link_of_the_readme_and_of_the_pages_leads_to_a_file(root: Path) -> None:
    pages = [root / "README.md", *(path for path in (root / "docs").rglob("*.md") if path.parts[-2][:1] != "_")]
    generated = {f"results/{path.stem}.md" for path in (root / "docs" / "results").glob("*.json")} | {"tree.md"}
    for page in (page for page in pages if "_generated" not in page.parts):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            _, made, name = target.partition("_generated/")
            assert name in generated if made else (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_path_that_the_readme_names_exists(root: Path) -> None:
    text = (root / "README.md").read_text("utf-8")
    for path in re.findall(r"`((?:worldgen|geometry|docs|configs|examples)/[\w./]+)`", text):
        assert path == "docs/_build/html" or (root / path).exists(), path
    assert {"worldgen/sampling/sampler.py", "worldgen/pipelines/generation.py"} <= set(tree(root))


def test_every_page_that_a_source_file_names_exists(root: Path) -> None:
    for folder in ("geometry", "worldgen", "benchmarks", "examples", "configs", "tests"):
        for path in [*(root / folder).rglob("*.py"), *(root / folder).rglob("*.yaml")]:
            for page in re.findall(r"\bdocs/[\w./-]+\.(?:md|json|png)\b", path.read_text("utf-8")):
                assert (root / page).exists(), f"{path.relative_to(root)}: {page}"
