"""What some tests need of the system: ``@pytest.mark.needs("terminal")`` skips a test where it is not there."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from types import ModuleType
from typing import Final, cast

import pytest

IS_CPYTHON: Final = sys.implementation.name == "cpython"
IS_POSIX: Final = os.name == "posix"


def _has_prompt() -> bool:
    readline = None if find_spec("readline") is None else import_module("readline")
    return hasattr(readline, "set_pre_input_hook")


NEEDS: Final = {
    "alarm": (hasattr(signal, "SIGALRM"), "this system has no alarm that ends what hangs"),
    "docstrings": (sys.flags.optimize < 2, "Python was told to leave docstrings out"),
    "cpython": (IS_CPYTHON, "what is counted, or done, is CPython's"),
    "epoll": (hasattr(select, "epoll"), "this system has no epoll"),
    "files as sockets": (IS_POSIX, "sockets are no file descriptors here, so SocketWire is not used"),
    "javascript": (
        IS_CPYTHON and find_spec("quickjs") is not None,
        "the engine of JavaScript, quickjs, is not installed, or this is not CPython",
    ),
    "isal": (find_spec("isal") is not None, "isal is not installed"),
    "shell": (IS_POSIX and which("bash") is not None, "there is no shell like bash"),
    "signals": (IS_POSIX, "processes cannot be sent signals here that they handle"),
    "stopping": (IS_POSIX, "processes cannot be stopped here"),
    "no settings of the system": (sys.platform not in ("darwin", "win32"), "the system itself may name proxies here"),
    "pipes that can be asked": (IS_POSIX, "only of sockets it can be asked here whether there is something to read"),
    "prompt": (_has_prompt(), "this readline does not tell when it shows its prompt, or there is none"),
    "speedups": (find_spec("websockets.speedups") is not None, "websockets has no part in C here"),
    "terminal": (find_spec("pty") is not None and find_spec("termios") is not None, "there are no pseudo-terminals"),
    "unix sockets": (hasattr(socket, "AF_UNIX"), "there are no Unix sockets"),
    "what a reset follows": (IS_POSIX, "a reset takes away here what came before it and was not read yet"),
    "folders as files": (IS_POSIX, "folders cannot be opened here"),
    "full device": (Path("/dev/full").exists(), "there is no device that is always full"),
}
"""Whether it is there, and else why a test is skipped."""


def import_or_skip(name: str) -> ModuleType:
    """Return a module; where there is none, skip the test, or the file that is being imported."""
    return cast("ModuleType", pytest.importorskip(name, reason=f"this Python has no {name}"))


def skip_without(item: pytest.Item) -> None:
    """Skip a test that needs what is not there."""
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            present, reason = NEEDS[name]
            if not present:
                pytest.skip(reason)


def with_newlines(done: subprocess.CompletedProcess[bytes]) -> subprocess.CompletedProcess[bytes]:
    r"""Return what a process has printed with ``\n`` where this system ends lines otherwise."""
    done.stdout, done.stderr = (
        data and data.replace(os.linesep.encode(), b"\n") for data in (done.stdout, done.stderr)
    )
    return done


def refusal_text() -> str:
    """Return what this system says of a connection that is refused."""
    with socket.socket() as unused, socket.socket() as client:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError) as caught:
            client.connect(unused.getsockname())
    return caught.value.strerror or ""


def reset_text() -> str:
    """Return what this system says of a connection that is reset."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        peer, _ = server.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        with pytest.raises(ConnectionResetError) as caught:
            client.recv(1)
    return str(caught.value)
