"""What is said of an exception."""

from __future__ import annotations

import ctypes
import sys

import pytest
import trio

from trio_socket_task._stream._causes import describe, root_cause


def test_the_words_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what Trio has none, because os.strerror does not know the codes of sockets there."""
    refused = OSError(10061, "Error connecting to ('127.0.0.1', 1): Unknown error")
    error = OSError("all attempts to connect to 127.0.0.1:1 failed")
    error.__cause__ = ExceptionGroup("one for each address", [refused])
    monkeypatch.setattr(sys, "platform", "linux")
    assert describe(refused).endswith("Unknown error")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "FormatError", {10061: "The machine refused it."}.__getitem__, raising=False)
    assert describe(error) == (
        "all attempts to connect to 127.0.0.1:1 failed "
        "([Errno 10061] Error connecting to ('127.0.0.1', 1): The machine refused it.)"
    )
    assert describe(OSError("Unknown error")) == "Unknown error"


def test_errors_that_are_their_own_causes() -> None:
    """They have an end all the same."""
    one, other = trio.BrokenResourceError("one"), trio.BrokenResourceError("other")
    one.__cause__, other.__cause__ = other, one
    assert root_cause(one) is one
    alone = trio.BrokenResourceError("alone")
    alone.__cause__ = alone
    assert root_cause(alone) is alone
    single = OSError("single")
    single.__cause__ = ExceptionGroup("all", [single])
    assert describe(single) == "single (single)"
