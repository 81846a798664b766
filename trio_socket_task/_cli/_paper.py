"""What the command line prints: messages on standard output, all else on standard error."""

from __future__ import annotations

import base64
import json
import sys
from datetime import datetime
from typing import final

import attrs

_CLEAR = "\r\x1b[K"
_PROMPT = "> "


@final
@attrs.define
class Paper:
    """Where things are written."""

    as_json: bool = False
    """Whether each message and each event is a line of JSON."""
    live: bool = False
    """Whether a person types, at a prompt that stays below what comes."""
    _line: str = ""  # the statistics that stand below what comes

    def message(self, data: str | bytes) -> None:
        """Print a message: text as it is, binary in hexadecimal."""
        if self.as_json:
            self._write(sys.stdout, json.dumps({"event": "message", **_plain(data)}, ensure_ascii=False))
            return
        text = data if isinstance(data, str) else data.hex(" ")
        self._write(sys.stdout, f"{_now()} < {text}" if self.live else text)

    def event(self, name: str, words: str) -> None:
        """Print what happens to the connection."""
        if self.as_json:
            self._write(sys.stdout, json.dumps({"event": name, "words": words}, ensure_ascii=False))
        else:
            self._write(sys.stderr, f"{_now()} {name}: {words}" if self.live else f"{name}: {words}")

    def standing(self, line: str) -> None:
        """Print a line that the next one of its kind replaces, where there is a terminal."""
        if sys.stderr.isatty():
            self._line = line
            self._redraw()
        else:
            print(line, file=sys.stderr, flush=True)

    def prompt(self) -> str:
        """Wait for a line of a person; an empty one at the end of the input."""
        try:
            return input(_PROMPT) + "\n"
        except EOFError:
            return ""

    def _write(self, where: object, line: str) -> None:
        if self.live or self._line:
            print(_CLEAR, end="", file=sys.stderr, flush=True)
        print(line, file=where, flush=True)  # type: ignore[call-overload]
        if self.live or self._line:
            self._redraw()

    def _redraw(self) -> None:
        """Draw anew what stands below, with what was typed so far."""
        typed = ""
        if self.live:
            import readline  # noqa: PLC0415 (not everywhere)

            typed = _PROMPT + readline.get_line_buffer()
        gap = "  " if self._line and typed else ""
        print(f"{_CLEAR}{self._line}{gap}{typed}", end="", file=sys.stderr, flush=True)


def _plain(data: str | bytes) -> dict[str, str]:
    return {"text": data} if isinstance(data, str) else {"binary": base64.b64encode(data).decode()}


def _now() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")
