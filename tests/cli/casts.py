"""Record the command line at work: ``python -m cli.casts docs/casts`` writes asciinema's format, and a drawing of it.

What is recorded is what the commands print, when they print it; the captions tell what is done beside the terminal.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from html import escape
from itertools import pairwise
from pathlib import Path
from unicodedata import east_asian_width

import attrs
import trio
from cli.terminal import COLUMNS, COMMAND, Terminal, at_terminal, render

BLINK, IDLE, HOLD = 0.05, 1.5, 4.0
"""Seconds: frames that follow sooner are one, none but the last stays longer, and how long that one does."""
LETTER, LINE, EDGE = 8.4, 19, 14
Event = tuple[float, str, str]
"""Seconds, `o` for output or `m` for a caption, and the text, as asciinema has it."""
Frame = tuple[float, list[str], str]
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h}" width="{w:.0f}" height="{h}"
 font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" fill="#e6e6e6">
<title>{title}</title>
<style>
g {{ visibility: hidden; animation: {seconds:.2f}s step-end infinite; }}
{frames}
@media (prefers-reduced-motion: reduce) {{
 g {{ animation: none !important; }} g:last-of-type {{ visibility: visible; }}
}}
</style>
<rect width="100%" height="100%" rx="8" fill="#1b1f24"/>
"""


@attrs.define(eq=False)
class Cast:
    """What a terminal showed, and when."""

    command: str
    terminal: Terminal
    events: list[Event] = attrs.field(factory=list)
    _began: float = attrs.field(factory=trio.current_time)
    _seen: int = 0

    def _note(self, kind: str, text: str) -> None:
        self.events.append((round(trio.current_time() - self._began, 3), kind, text))

    def caption(self, text: str) -> None:
        """Say what happens outside of the terminal."""
        self._note("m", text)

    async def _read(self) -> bool:
        before = len(self.terminal.written)
        goes_on = await self.terminal._read()
        self._note("o", self.terminal.written[before:])
        return goes_on

    async def watch(self, seconds: float) -> None:
        """Record for some time."""
        with trio.move_on_after(seconds):
            while await self._read():
                pass

    async def until(self, pattern: str) -> None:
        """Record until something new is written, and for a moment longer."""
        while not (found := re.compile(pattern).search(self.terminal.written, self._seen)):
            assert await self._read(), (pattern, self.terminal.written)
        self._seen = found.end()
        await self.watch(0.8)

    async def type(self, line: str) -> None:
        """Press keys as a person does."""
        for key in line:
            self.terminal.type(key.encode())
            await self.watch(0.07)

    def save(self, path: Path) -> None:
        """Write the recording and the drawing."""
        header = {"version": 2, "width": COLUMNS, "height": 24, "title": self.command, "idle_time_limit": IDLE}
        lines = [json.dumps(line, ensure_ascii=False) for line in (header, *self.events)]
        path.with_suffix(".cast").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        drawing = draw(self.command, frames(self.events))
        path.with_suffix(".svg").write_text(drawing, encoding="utf-8", newline="\n")


def frames(events: Iterable[Event]) -> list[Frame]:
    """Return what was on the screen and below it, and from when on."""
    written, caption, found = "", "", list[Frame]()
    now, before = 0.0, 0.0
    for at, kind, text in events:
        now, before = now + min(at - before, IDLE), at
        caption = text if kind == "m" else caption
        written += text if kind == "o" else ""
        is_soon = found and now - found[-1][0] < BLINK
        found.append((found.pop()[0] if is_soon else now, render(written), caption))
    return found


def draw(title: str, shown: list[Frame]) -> str:
    """Draw one frame after the other, with a line for the caption below."""
    times = [0.0, *(at for at, _, _ in shown[1:]), shown[-1][0] + HOLD]
    seconds, high = times[-1], max(len(rows) for _, rows, _ in shown)
    styles, groups = [], []
    for number, ((_, rows, caption), (start, end)) in enumerate(zip(shown, pairwise(times), strict=True)):
        first, last = (f"{100 * at / seconds:.3f}%" for at in (start, end))
        hidden = "" if number == 0 else "0% { visibility: hidden } "
        styles.append(f"#f{number} {{ animation-name: k{number} }}")
        styles.append(
            f"@keyframes k{number} {{ {hidden}{first} {{ visibility: visible }} {last} {{ visibility: hidden }} }}"
        )
        note = f'<text x="{EDGE}" y="{EDGE + LINE * (len(rows) + 1)}" fill="#ffb27a">({escape(caption)})</text>'
        groups.append(f'<g id="f{number}">{"".join(_lines(rows))}{note if caption else ""}</g>')
    widest = max(_width(row) for _, rows, _ in shown for row in [*rows, " " * COLUMNS])
    width, height = widest * LETTER + 2 * EDGE, LINE * (high + 1) + 2 * EDGE
    head = HEAD.format(w=width, h=height, title=escape(title), seconds=seconds, frames="\n".join(styles))
    return head + "\n".join(groups) + "\n</svg>\n"


def _lines(rows: Iterable[str]) -> Iterable[str]:
    for number, row in enumerate(rows, 1):
        if row.strip():
            style = ' font-weight="bold"' if row.startswith("$ ") else ""
            place = f'x="{EDGE}" y="{EDGE + LINE * number - 5}"'
            yield f'<text {place} xml:space="preserve"{style}>{escape(row.rstrip())}</text>'


def _width(row: str) -> int:
    return sum(2 if east_asian_width(letter) in "FW" else 1 for letter in row)


@asynccontextmanager
async def record(*arguments: str) -> AsyncIterator[Cast]:
    """Run a command at a terminal, below the line that starts it."""
    command = " ".join(["trio-socket-task", *arguments])
    async with at_terminal(*arguments) as terminal:
        cast = Cast(command, terminal)
        terminal.written = f"$ {command}\r\n"
        cast.events.append((0.0, "o", terminal.written))
        yield cast


async def serve(port: int) -> tuple[trio.Process, int]:
    """Start a server that echoes, and return it with its port."""
    command = [*COMMAND, "serve", "--port", str(port)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    printed = b""
    while not (found := re.search(rb":(\d+)/\r?\n", printed)):
        printed += await process.stdout.receive_some()
        assert process.returncode is None
    return process, int(found[1])


async def demo(folder: Path) -> None:
    """Record the demo."""
    async with record("demo") as cast:
        while await cast._read():
            pass
        cast.save(folder / "demo")


async def keep(folder: Path) -> None:
    """Record a connection that is kept while the server dies and comes back."""
    server, port = await serve(0)
    try:
        async with record("connect", "--keep", f"ws://127.0.0.1:{port}/") as cast:
            await cast.until("connected")
            await cast.type("hello\n")
            await cast.until("< hello")
            cast.caption("the server is killed")
            server.kill()
            await server.wait()
            await cast.until("waiting")
            await cast.type("are you still there?\n")
            await cast.watch(2.5)
            cast.caption("the server is started again")
            server, _ = await serve(port)
            await cast.until("< are you still there")
            cast.caption("")
            await cast.type("good\n")
            await cast.until("< good")
            cast.caption("Ctrl-D")
            await cast.type("\x04")
            await cast.watch(5)
            cast.save(folder / "keep")
    finally:
        server.kill()
        await server.wait()


async def main(folder: Path) -> None:
    """Record both."""
    with trio.fail_after(120):
        await demo(folder)
        await keep(folder)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
