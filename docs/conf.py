"""Sphinx's configuration: `make docs` builds this folder into docs/_build/html, without a network."""

import re
from pathlib import Path

import jaxtyping  # noqa: F401  # before `geometry` is loaded, whose signatures then show shapes
from sphinx.application import Sphinx

from docs import api, generate

ROOT = Path(__file__).parents[1]

project = html_title = "worldgen"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_generated/tables"]  # tables are included in pages
myst_enable_extensions = ["attrs_block"]
myst_heading_anchors = 3
nitpicky = True  # a broken link in a page is an error ...
nitpick_ignore_regex = [("py:.*", ".*")]  # ... but types in signatures need not have a page

default_role = "literal"  # `name` in docstrings is code
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sphinx = html_show_copyright = html_copy_source = False


def _link_pages(_app: Sphinx, _name: str, source: list[str]) -> None:
    """Links to a report's file, which lead somewhere outside the site too, lead to its page."""
    source[0] = re.sub(r"\]\(((?:\.\./)*)results/(\w+)\.json\)", r"](\1_generated/results/\2.md)", source[0])


def setup(app: Sphinx) -> None:
    """Write the pages that are made of data, and read docstrings in the repository's short form."""
    app.connect("builder-inited", lambda _: generate.write(ROOT, ROOT / "docs" / "_generated"))
    app.connect("source-read", _link_pages)
    app.connect("autodoc-process-signature", api.process_signature)
    app.connect("autodoc-process-docstring", api.process_docstring)
