"""Every public name has an entry in the API reference."""

import re

import pytest

from docs.api import pages, public_names, readable


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    """The pages, by package."""
    return pages()


def test_every_public_name_has_an_entry_on_the_page_of_its_package(reference: dict[str, str]) -> None:
    page = "\n".join(reference.values())
    described = set(re.findall(r"^\.\. (?:auto|py:)\w+:: (\S+)$", page, re.MULTILINE))
    links = dict(re.findall(r"^`(\S+)` is \{py:obj\}`(\S+)`\.$", page, re.MULTILINE))
    wanted = [f"{package}.{name}" for package, names in public_names().items() for name in names]
    assert [name for name in wanted if links.get(name, name) not in described] == []


def test_the_packages_of_the_reference_are_those_with_public_names(reference: dict[str, str]) -> None:
    assert {"geometry", "worldgen", "worldgen.sampling", "worldgen.pipelines"} <= set(reference)
    assert set(public_names()) == set(reference)


def test_a_class_is_described_once(reference: dict[str, str]) -> None:
    entries = re.findall(r"^\.\. auto(?:class|function):: (\S+)$", "\n".join(reference.values()), re.MULTILINE)
    assert sum(entry.endswith(".Cameras") for entry in entries) == 1
    assert len(entries) == len(set(entries))


def test_short_docstrings_are_lists_and_shapes_are_no_markup() -> None:
    lines = ["A thing.", "", "K     [*b, 3, 3] of |x|", "      in pixels", "a, b  `x` and `y`", "Raises `x*y`s."]
    listed = ["", r"- ``K``: [\*b, 3, 3] of \|x\|", "  in pixels", "- ``a, b``: `x` and `y`", ""]
    assert readable(lines) == ["A thing.", "", *listed, r"Raises `x*y`\ s."]


def test_what_is_indented_below_a_colon_is_code() -> None:
    lines = ["As here:", "", "    x[*b] = 1", "", "    if x:", "        y", "", "More of |x|."]
    assert readable(lines) == ["As here:", "", "::", "", *lines[2:7], "", r"More of \|x\|."]
