"""What is printed, and how."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
import threading
from functools import partial
from typing import BinaryIO, cast

import pytest
import trio
from cli.terminal import render

from trio_socket_task import CloseEvent, ConnectError
from trio_socket_task._cli._output import Output, WriteError
from trio_socket_task._cli._parser import exit_code
from trio_socket_task._cli._prompt import Prompt
from trio_socket_task._cli._screen import Screen, can_redraw
from trio_socket_task._cli._streams import flush_streams

EVIL = "\x1b]0;title\x07 \x9b31m \r\n12:00:00 < forged\x7f \u202e"
SHOWN = r"\x1b]0;title\x07 \x9b31m \x0d\x0a12:00:00 < forged\x7f \u202e"


def test_control_characters_are_made_visible(capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever they come from."""
    output = Output()
    output.message(EVIL)
    output.message(b"\x1b\x00")
    output.event("waiting", EVIL)
    output.close(CloseEvent(code=4000, reason=EVIL))
    output.line(EVIL)
    output.note(EVIL)
    written = capsys.readouterr()
    assert written.out == f"{SHOWN}\n1b 00\n{SHOWN}\n"
    assert written.err == f"waiting: {SHOWN}\nclosed: 4000 {SHOWN}\n{SHOWN}\n"


@pytest.mark.parametrize("text", [EVIL, "漢字", "\udcff", 'say "\\x1b"'])
def test_json_is_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """In whatever encoding, and with nothing that a terminal obeys."""
    for encoding in ("utf-8", "ascii", "cp1252"):
        buffer = io.BytesIO()
        stream = io.TextIOWrapper(buffer, encoding=encoding, errors="backslashreplace", newline="\n")
        monkeypatch.setattr(sys, "stdout", stream)
        Output(as_json=True).message(text)
        assert json.loads(buffer.getvalue().decode(encoding)) == {"event": "message", "text": text}
        assert not any(byte < 0x20 or byte == 0x7F for byte in buffer.getvalue()[:-1])
    assert ("漢字" in buffer.getvalue().decode()) is False
    assert capsys.readouterr().err == ""


def test_json_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the encoding has the characters."""
    Output(as_json=True).message("漢字")
    assert capsys.readouterr().out == '{"event": "message", "text": "漢字"}\n'


def test_raw_messages(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Go out as they are: a line of text, or bytes; the rest stays as ever."""
    output = Output(raw=True)
    output.message(EVIL)
    output.message(b"\x1b\x00")
    output.event("waiting", EVIL)
    written = capfdbinary.readouterr()
    assert written.out == EVIL.encode() + b"\n\x1b\x00"
    assert written.err == f"waiting: {SHOWN}\n".encode()


class Full(io.StringIO):
    """A stream that cannot be written to."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    @property
    def buffer(self) -> BinaryIO:
        return cast("BinaryIO", self)

    def write(self, _text: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fileno(self) -> int:
        return self._descriptor


@pytest.mark.parametrize("raw", [False, True])
def test_standard_output_that_is_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, *, raw: bool
) -> None:
    """Is an error; what follows goes nowhere."""
    with (tmp_path_factory.mktemp("full") / "file").open("w") as file:
        monkeypatch.setattr(sys, "stdout", Full(file.fileno()))
        with pytest.raises(WriteError):
            Output(raw=raw).message("x")
        flush_streams()


@pytest.mark.parametrize(("platform", "code"), [("win32", 141), ("linux", 1)])
def test_a_reader_that_has_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], platform: str, code: int
) -> None:
    """Is no news on Windows either, which has another error for it."""
    error = WriteError()
    error.__cause__ = OSError(errno.EINVAL, "Invalid argument")
    monkeypatch.setattr(sys, "platform", platform)
    assert exit_code(error, Output()) == code
    assert ("Invalid argument" in capsys.readouterr().err) is (code == 1)


def test_standard_error_that_is_full(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Is told to nobody."""
    with (tmp_path_factory.mktemp("full") / "file").open("w") as file:
        monkeypatch.setattr(sys, "stderr", Full(file.fileno()))
        Output().event("waiting", "x")


def test_errors(capsys: pytest.CaptureFixture[str]) -> None:
    """For a person and for a program."""
    error = ConnectError("ws://a/?token=secret", "refused")
    Output().error(error)
    Output(as_json=True).error(error)
    written = capsys.readouterr()
    sentence = "cannot connect to ws://a/?***: refused"
    assert written.err == f"error: {sentence}\n"
    assert json.loads(written.out) == {"event": "error", "words": sentence, "kind": "ConnectError"}


class Terminal(io.StringIO):
    """A terminal whose size nobody knows."""

    def fileno(self) -> int:
        raise OSError


def test_statistics_stand_below(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They are erased for what comes, drawn again, and cut to the terminal's width."""
    terminal = Terminal()
    output = Output(screen=Screen(terminal))
    output.message("before")
    output.statistics("s" * 200)
    output.message("after")
    assert capsys.readouterr().out == "before\nafter\n"
    assert terminal.getvalue() == "s" * 79 + "\r\x1b[J" + "s" * 79


def test_statistics_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Are lines of their own."""
    Output().statistics("sent 1/s")
    assert capsys.readouterr().err == "sent 1/s\n"


def test_a_terminal_that_is_gone_is_not_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    """And that is no error."""
    output = Output(screen=Screen(Full(1)))
    output.statistics("sent 1/s")
    output.message("x")
    assert capsys.readouterr().out == "x\n"


def test_no_prompt_appears_after_the_end() -> None:
    """The thread that would ask for the next line may be late; it asks for none then."""
    prompt = Prompt.__new__(Prompt)  # without readline, which touches the terminal
    prompt.screen = Screen(Terminal(), lambda: "")
    assert prompt.screen.ask()
    prompt.screen.end_line("")
    prompt.screen.end()
    assert not prompt.screen.ask()
    assert prompt._ask() is None


def test_a_prompt_that_is_about_to_appear() -> None:
    """What is printed before leaves it alone; it is there once."""
    terminal, typed = Terminal(), "漢"
    screen = Screen(terminal, lambda: typed)
    screen.ask()
    screen.print_above(partial(terminal.write, "first\n"))
    screen.begin_prompt()
    terminal.write("> " + typed)  # as readline does
    screen.begin_line()
    assert terminal.getvalue() == "\r\x1b[Jfirst\n> 漢"
    typed = "漢" * 40
    screen.set_status("sent 1/s")
    assert terminal.getvalue().endswith("\r\x1b[Jsent 1/s\n> " + typed)
    screen.print_above(partial(terminal.write, "second\n"))
    assert terminal.getvalue().endswith(f"\x1b[2A\r\x1b[Jsecond\nsent 1/s\n> {typed}")
    assert screen.half_line == typed
    screen.end_line("")
    assert screen.half_line == ""
    screen.set_status("sent 2/s")
    screen.end()
    assert "sent 2/s" not in terminal.getvalue()


def test_a_prompt_that_comes_at_the_end() -> None:
    """Is waited for, and erased."""
    terminal = Terminal()
    screen = Screen(terminal, str)
    screen.ask()
    screen.begin_prompt()
    appearing = threading.Timer(0.01, screen.begin_line)
    appearing.start()
    screen.end()
    appearing.join()
    assert terminal.getvalue() == "\r\x1b[J"


def test_the_end_waits_for_a_prompt_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though its thread has not begun to show it; it is erased then."""
    terminal = Terminal()
    screen = Screen(terminal, str)
    assert screen.ask()

    def appear(_seconds: float) -> bool:
        screen.begin_prompt()
        terminal.write("> ")
        screen.begin_line()
        return True

    monkeypatch.setattr(screen._answered, "wait", appear)
    screen.end()
    assert terminal.getvalue() == "> \r\x1b[J"


def test_nothing_is_printed_amid_the_prompt() -> None:
    """What comes while it is being shown waits, and stands above it."""
    terminal = Terminal()
    screen = Screen(terminal, str)

    def say() -> None:
        screen.print_above(partial(terminal.write, "message\n"))

    screen.ask()
    screen.begin_prompt()
    terminal.write(">")
    saying = threading.Thread(target=say)
    saying.start()
    saying.join(0.05)
    terminal.write(" ")
    screen.begin_line()
    saying.join()
    assert render(terminal.getvalue()) == ["message", "> "]


def test_a_line_of_which_nobody_has_told_yet() -> None:
    """Is waited for: the cursor is below it already."""
    terminal = Terminal()
    typed: str | None = ""
    screen = Screen(terminal, lambda: typed)
    screen.ask()
    screen.begin_prompt()
    terminal.write("> ")
    screen.begin_line()
    screen.set_status("sent 1/s")
    terminal.write("hello\r\n")
    typed = None
    telling = threading.Timer(0.01, screen.end_line, ["hello"])
    telling.start()
    screen.print_above(partial(terminal.write, "message\n"))
    telling.join()
    assert render(terminal.getvalue()) == ["> hello", "message", ""]


def test_the_end_of_the_input_at_the_prompt() -> None:
    """Leaves nothing, though readline has let go of the terminal."""
    terminal = Terminal()
    typed: str | None = ""
    screen = Screen(terminal, lambda: typed)
    screen.ask()
    screen.begin_prompt()
    terminal.write("> ")
    screen.begin_line()
    screen.set_status("sent 1/s")
    typed = None
    screen.end_input()
    assert render(terminal.getvalue()) == [""]


def test_ctrl_c_while_something_is_drawn() -> None:
    """Comes when that is done, so that the last output stand in a row of their own."""

    class Interrupted(Terminal):
        def write(self, text: str) -> int:
            size = super().write(text)
            if text == "sent 1/s":
                signal.raise_signal(signal.SIGINT)
            return size

    async def talk() -> None:
        screen.set_status("sent 1/s")
        await trio.lowlevel.checkpoint()

    terminal = Interrupted()
    screen = Screen(terminal)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            trio.run(talk)
    finally:
        signal.signal(signal.SIGINT, before)
    screen.end()
    assert render(terminal.getvalue()) == [""]


def test_a_readline_that_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it shows its prompt is of no use."""
    readline = pytest.importorskip("readline")
    monkeypatch.delattr(readline, "set_pre_input_hook", raising=False)
    with pytest.raises(ImportError):
        Prompt()


@pytest.mark.parametrize(
    ("is_terminal", "system", "environment", "can"),
    [
        (True, "posix", {"TERM": "xterm"}, True),
        (True, "posix", {}, True),
        (True, "posix", {"TERM": "dumb"}, False),
        (True, "nt", {"WT_SESSION": "1"}, True),
        (True, "nt", {}, False),
        (False, "posix", {"TERM": "xterm"}, False),
    ],
)
def test_where_a_line_can_be_replaced(
    monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool, system: str, environment: dict[str, str], can: bool
) -> None:
    """At a terminal that can erase."""
    stream = Terminal()
    monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
    monkeypatch.setattr(os, "name", system)
    monkeypatch.setattr(os, "environ", environment)
    found = can_redraw(stream)
    monkeypatch.undo()
    assert found is can
