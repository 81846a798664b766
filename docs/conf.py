"""How the documentation is built."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from trio_socket_task import __version__

FOLDER = Path(__file__).parent
PROJECT = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = PROJECT.get("urls", {}).get("Source")
sys.path.insert(0, str(FOLDER))  # diagrams.py is beside this file

project = "trio-socket-task"
author = "The trio-socket-task authors"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "diagrams"]
exclude_patterns = ["_build", "benchmarks", "casts", "changelog.d", "examples"]
html_theme = "furo"
html_theme_options = (
    {"source_repository": ADDRESS, "source_branch": "main", "source_directory": "docs/"} if ADDRESS else {}
)
html_title = f"{project} {release}"
project_copyright = author
copybutton_exclude = ".linenos, .gp, .go"  # of a console's block the commands alone
copybutton_prompt_text = "$ "
default_role = "py:obj"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Other projects' names have no inventory here: the build needs no network.
nitpick_ignore_regex = [
    ("py:.*", r"(trio|ssl|re|collections|contextlib|typing|types|enum|pathlib)\..*"),
    ("py:.*", r"(Mapping|Sequence|Unpack|AbstractAsyncContextManager|SSLContext|TypedDict|Listener|.*_T|~.*)"),
    ("py:.*", r"trio_socket_task\._.*"),
    ("py:exc", r"trio.*"),
    ("py:obj", r"[a-z_]+"),  # a parameter, which stands beside
]


def find_class(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement) -> nodes.Element | None:
    """Link a class of another module of the package, which docstrings name without its module."""
    name = str(node["reftarget"])
    if node["reftype"] != "obj" or not name[:1].isupper():
        return None
    node["refspecific"] = True  # Sphinx then looks in every module
    return env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, text)


def setup(app: Sphinx) -> None:
    """Ask for what Sphinx did not find."""
    app.connect("missing-reference", find_class)
