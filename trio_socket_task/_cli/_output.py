"""What the command line prints: messages on standard output, all else on standard error, or JSON for a program."""

from __future__ import annotations

import base64
import json
import os
import sys
from datetime import datetime
from functools import partial
from typing import TextIO, final

import attrs

from trio_socket_task._events import CloseEvent
from trio_socket_task._text import printable

from ._error_text import error_fields, error_text, refusal_body
from ._screen import Screen


class WriteError(Exception):
    """Standard output cannot be written to; the cause says why."""


@final
@attrs.define
class Output:
    """Where things are written. Control characters are made visible, so that nobody else writes to the terminal."""

    as_json: bool = False
    """Whether each message and each event is a line of JSON."""
    stamped: bool = False
    """Whether each line begins with the time, for a person."""
    raw: bool = False
    """Whether messages are written as they are."""
    shows_body: bool = False
    """Whether the body of a refusal is printed; a program that reads JSON has it in any case."""
    screen: Screen | None = None
    """What stands below what is printed, at a terminal."""

    def message(self, data: str | bytes) -> None:
        """Print a message: text in a line, binary in hexadecimal."""
        if self.as_json:
            plain = {"text": data} if isinstance(data, str) else {"binary": base64.b64encode(data).decode()}
            self._write(sys.stdout, _json_line({"event": "message", **plain}))
        elif self.raw:
            self._write_raw(data)
        else:
            text = printable(data) if isinstance(data, str) else data.hex(" ")
            self._write(sys.stdout, f"{_now()} < {text}" if self.stamped else text)

    def event(self, name: str, text: str, **fields: object) -> None:
        """Print what happens: a text for a person, and fields beside it for a program."""
        if self.as_json:
            self._write(sys.stdout, _json_line({"event": name, "words": text, **fields}))
        else:
            line = f"{name}: {printable(text)}".rstrip()
            self._write(sys.stderr, f"{_now()} {line}" if self.stamped else line)

    def error(self, error: BaseException, program: str = "error") -> None:
        """Print what went wrong."""
        if self.as_json:
            self.event("error", error_text(error), **error_fields(error))
        else:
            self.event(program, error_text(error))
            for line in refusal_body(error).splitlines() if self.shows_body else ():
                self._write(sys.stderr, printable(line))

    def close(self, event: CloseEvent) -> None:
        """Print how the connection was closed."""
        code = int(event.code)
        if self.as_json:
            self._write(sys.stdout, _json_line({"event": "close", "code": code, "reason": event.reason}))
        else:
            self.event("closed", f"{code} {event.reason}")

    def line(self, text: str) -> None:
        """Print a line of a report."""
        self._write(sys.stdout, printable(text))

    def note(self, text: str) -> None:
        """Print a line beside a report."""
        self._write(sys.stderr, printable(text))

    def statistics(self, text: str, **fields: object) -> None:
        """Print figures, in a line that the next ones replace where there is a terminal."""
        if self.as_json:
            self.event("statistics", text, **fields)
        elif self.screen is not None:
            self.screen.set_status(text)
        else:
            self.note(text)

    def _write(self, stream: TextIO, line: str) -> None:
        if self.screen is None:
            _write_line(stream, line)
        else:
            self.screen.print_above(partial(_write_line, stream, line))

    def _write_raw(self, data: str | bytes) -> None:
        try:
            sys.stdout.buffer.write(data if isinstance(data, bytes) else data.encode() + b"\n")
            sys.stdout.buffer.flush()
        except OSError as error:
            _fail(sys.stdout, error)


def _write_line(stream: TextIO, line: str) -> None:
    try:
        stream.write(line + "\n")
        stream.flush()
    except OSError as error:
        _fail(stream, error)


def _fail(stream: TextIO, error: OSError) -> None:
    """Raise when it is standard output that cannot be written to; for standard error nobody could read of it."""
    discard(stream)
    if stream is sys.stdout:
        raise WriteError from error


def discard(stream: TextIO) -> None:
    """Discard what a stream still holds, and what is written to it from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _json_line(fields: dict[str, object]) -> str:
    """Return a line of JSON as a person reads it best, in ASCII where a character is invisible or cannot be written."""
    line = json.dumps(fields, ensure_ascii=False)
    try:
        line.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return json.dumps(fields)
    return line if printable(line) == line else json.dumps(fields)


def _now() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")
