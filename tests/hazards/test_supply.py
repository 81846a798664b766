"""Hazards of what the package is handed by the system and by others: V5 and V7.

Ids such as V5 are rows of the tables in `docs/explanation/reliability.md`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

FORKED = """
import os
from trio_socket_task._protocol._encoder import encode
from trio_socket_task._protocol._decoder import Opcode
from trio_socket_task._protocol._mask import next_key
from trio_socket_task._options import check_options
from trio_socket_task._protocol._upgrade import Upgrade
from trio_socket_task._url import check_url

options = check_options(check_url("ws://a.test/"), {})

def unforeseeable():
    frames = [encode(Opcode.TEXT, b"the same text") for _ in range(3)]
    keys = [next_key() for _ in range(2000)]
    request = [value for name, value in Upgrade(options).request().headers if name == b"sec-websocket-key"]
    return {*frames, *keys, *request}

unforeseeable()
"""
WITH_OS_FORK = """
import pickle

def fork():
    read, write = os.pipe()
    if os.fork() == 0:
        with os.fdopen(write, "wb") as pipe:
            pickle.dump(unforeseeable(), pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        return pickle.load(pipe)

children = [fork(), fork()]
"""
WITH_MULTIPROCESSING = """
import multiprocessing
with multiprocessing.get_context("fork").Pool(1) as one, multiprocessing.get_context("fork").Pool(1) as other:
    children = [one.apply(unforeseeable), other.apply(unforeseeable)]
"""
COMPARED = """
mine = unforeseeable()
# Of four-byte keys a few are equal by chance, about once in a thousand runs.
assert len(mine & children[0]) < 3 and len(mine & children[1]) < 3 and len(children[0] & children[1]) < 3
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("fork", [WITH_OS_FORK, WITH_MULTIPROCESSING], ids=["os.fork", "multiprocessing"])
def test_v5_a_forked_process_has_masking_keys_of_its_own(fork: str) -> None:
    """Parent and children share no masking key, no masked frame and no Sec-WebSocket-Key."""
    command = [sys.executable, "-c", FORKED + fork + COMPARED]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


ROOT = Path(__file__).parents[2]
FIXED = {"h11": (0, 16), "idna": (3, 15), "websockets": (9, 1), "pytest": (9, 0, 3)}
"""The first release without a hole that the advisories know."""


def requirements() -> list[str]:
    """Return what the package asks for, by its extras, too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *chain(*project["optional-dependencies"].values())]


@pytest.mark.parametrize("requirement", requirements())
def test_v7_no_release_with_a_known_hole_is_admitted(requirement: str) -> None:
    """Each dependency has a floor, at or after the release that fixed it, and a line with reason, floor and licence."""
    floor = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement)
    assert floor is not None
    name, version = floor.groups()
    assert tuple(map(int, version.split("."))) >= FIXED.get(name, ())
    page = (ROOT / "docs" / "explanation" / "dependencies.md").read_text(encoding="utf-8")
    row = rf"^\| {name}\b[^|]*\|[^|]{{10,}}\| {re.escape(version)}\b[^|]*\| [A-Z][^|]*\|$"
    assert re.search(row, page, re.MULTILINE), f"docs/explanation/dependencies.md says nothing of {requirement}"
