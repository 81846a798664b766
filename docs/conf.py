"""How the documentation is built."""

from __future__ import annotations

import sys
from pathlib import Path

from trio_socket_task import __version__

sys.path.insert(0, str(Path(__file__).parent))  # diagrams.py is beside this file

project = "trio-socket-task"
author = "The trio-socket-task authors"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "diagrams"]
exclude_patterns = ["_build", "benchmarks", "changelog.d", "examples"]
html_theme = "furo"
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
]
