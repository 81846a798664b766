"""What stands below what comes, at a terminal."""

from __future__ import annotations

import importlib
import io
import sys

import pytest

from trio_socket_task._cli._paper import Paper
from trio_socket_task._cli._parser import _verdict


class Terminal(io.StringIO):
    """Standard error at a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_line_of_statistics_stays_below(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is cleared for what comes, and drawn anew."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    paper = Paper()
    paper.message("before")
    paper.standing("sent 1/s")
    paper.message("after")
    assert capsys.readouterr().out == "before\nafter\n"
    assert terminal.getvalue() == "\r\x1b[Ksent 1/s\r\x1b[K\r\x1b[Ksent 1/s"


def test_what_nobody_expects_is_raised() -> None:
    """A bug is no exit code."""
    with pytest.raises(ExceptionGroup):
        _verdict(ExceptionGroup("several", [ValueError("one"), ValueError("other")]), "program")


def test_the_module_can_be_imported() -> None:
    """Without running anything."""
    assert importlib.import_module("trio_socket_task.__main__")
