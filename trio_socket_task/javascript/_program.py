"""A script at work."""

from __future__ import annotations

from collections import deque
from os import PathLike, fspath
from pathlib import Path
from typing import final

import trio

from trio_socket_task._errors import InvalidOptionsError
from trio_socket_task.miniprogram import MiniProgram

from ._console import Console
from ._engine import Engine
from ._errors import REPLACED, JavaScriptError
from ._modules import Modules
from ._reports import Reports
from ._sources import Sources
from ._timers import Timers


@final
class JavaScriptProgram:
    """A mini program in JavaScript, made by `open_javascript`."""

    def __init__(  # noqa: PLR0913, PLR0917 (the parts that `open_javascript` puts together)
        self,
        program: MiniProgram,
        engine: Engine,
        modules: Modules,
        sources: Sources,
        timers: Timers,
        reports: Reports,
    ) -> None:
        self._program = program
        self._engine = engine
        self._modules = modules
        self._sources = sources
        self._timers = timers
        self._reports = reports

    def __repr__(self) -> str:
        return f"<JavaScriptProgram, {self.console.written} lines on its console, {len(self.errors)} errors>"

    @property
    def console(self) -> Console:
        """What it has printed, as pairs of a level and a text in their order; also an async iterator of them."""
        return self._reports.console

    @property
    def errors(self) -> deque[JavaScriptError]:
        """What it threw that nobody caught, the last 1000. Each is on the console, too, and the program goes on."""
        return self._reports.errors

    async def run(self, path: str | PathLike[str] | None = None, *, source: str | None = None) -> None:
        """Run a file, or a text in place of one; what it calls later goes on after this.

        Of ``App`` then come ``onLaunch`` and ``onShow``, of ``Page`` ``onLoad``, ``onShow`` and ``onReady``. Whatever
        the script throws is put to the console and to `errors`.

        Raises:
            JavaScriptError: The file cannot be read, is not in the program's folder, or has a syntax error.
        """
        self._engine.thread.check()
        if (path is None) == (source is None):
            raise InvalidOptionsError("path", path, "must be given, or source in its place, and not both")
        await trio.lowlevel.checkpoint()
        if path is not None:
            file = self._modules.read(str(self._modules.open(Path(fspath(path)))))
        else:
            file = self._modules.inline(str(source))
        wrong = self._engine.call("run", file)
        if not (wrong is None or isinstance(wrong, JavaScriptError)):  # that one is told already
            raise self._error(wrong)

    def _error(self, described: object) -> JavaScriptError:
        """Return an error as the prelude has described it, if the script has left it what it needs for that."""
        match described:
            case [str(message), str(stack)]:
                return self._engine.error(message, stack)
        return JavaScriptError(REPLACED)

    def evaluate(self, expression: str) -> object:
        """Return the value of an expression: text, a number, a boolean, None, bytes, a list or a dict.

        Raises:
            JavaScriptError: It throws, takes too long, or has a value that nests too deep.
            RuntimeError: This is another thread than that of the program.
        """
        self._engine.thread.check()
        line = self._sources.add("<evaluate>", expression)
        match self._engine.call("evaluate", expression, line):
            case JavaScriptError() as error:
                raise error
            case ["value", value]:
                return value
            case ["error", *described]:
                raise self._error(described)
        raise JavaScriptError(REPLACED)

    async def wait_idle(self) -> None:
        """Wait until there is no socket, no timer and no job left; one that repeats has to be cleared before.

        If this is cancelled, the program is unharmed.
        """
        await self._program.wait_closed()
        while self._timers:
            await self._timers.wait_empty()
            await self._program.wait_closed()
