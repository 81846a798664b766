"""The command that runs a mini program's JavaScript."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from math import inf
from typing import Final

import trio

from trio_socket_task._errors import InvalidOptionsError
from trio_socket_task._options import ConnectOptions
from trio_socket_task.javascript import JavaScriptError, JavaScriptProgram, open_javascript

from ._contexts import make_context
from ._error_text import ServeError
from ._output import Output

_FAILED: Final = 1
_LATE: Final = 124
"""What timeout(1) returns."""
_EQUALS: Final = re.compile(r"=(?=wss?://)", re.IGNORECASE)
"""What parts FROM and TO, of which FROM may have a query, with a token in it."""
_ALOUD: Final = ("warn", "error")


def url_map(pairs: Sequence[str]) -> dict[str, str]:
    """Return what ``--map`` says.

    Raises:
        InvalidOptionsError: There is nothing that says where a URL leads.
    """
    for pair in pairs:
        if "=" not in pair:
            raise InvalidOptionsError("--map", pair, "must be FROM=TO")
    return dict(_EQUALS.split(pair, 1) if _EQUALS.search(pair) else pair.split("=", 1) for pair in pairs)


async def run_script(parsed: argparse.Namespace, output: Output, running: trio.CancelScope) -> int:
    """Run the files until nothing of them is left, or until `running` is cancelled; then their sockets are closed."""
    options = ConnectOptions()
    context = make_context(secure=True, insecure=False, cafile=parsed.cafile, cert=None, key=None)
    if context is not None:
        options["ssl_context"] = context
    try:
        block = open_javascript(
            parsed.vendor,
            base_library=parsed.base_library,
            map=url_map(parsed.map),
            strict=parsed.strict,
            **options,
        )
    except ModuleNotFoundError as error:
        raise ServeError(str(error)) from error
    async with trio.open_nursery() as nursery, block as program:
        nursery.start_soon(_print, program, output)
        with trio.move_on_after(inf if parsed.timeout is None else parsed.timeout) as limit, running:
            try:
                for name in parsed.file:
                    await program.run(name)
                await program.wait_idle()
            except JavaScriptError as error:
                program.errors.append(error)
                _write(output, "error", str(error))
    return _LATE if limit.cancelled_caught else _FAILED if program.errors else 0


async def _print(program: JavaScriptProgram, output: Output) -> None:
    async for level, text in program.console:
        _write(output, level, text)


def _write(output: Output, level: str, text: str) -> None:
    for line in text.split("\n"):
        (output.note if level in _ALOUD else output.line)(line)
