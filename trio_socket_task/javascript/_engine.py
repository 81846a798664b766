"""The JavaScript engine, QuickJS: one turn after another, each with the Promise jobs that it leaves."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Final, Protocol, cast, final

import attrs
import trio

from trio_socket_task._log import SafeLogger
from trio_socket_task._text import text_of
from trio_socket_task._thread import HomeThread

from ._errors import REPLACED, JavaScriptError
from ._sources import Sources, place
from ._time_limit import make_context, start_time_limit
from ._values import pack, unpack

_logger = SafeLogger("trio_socket_task.javascript")
_PRELUDE: Final = ("border", "console", "globals", "modules", "sockets", "pages")
_STACK: Final = 1 << 20  # bytes: less than what threads have on any platform


_INSTALL: Final = 'pip install "trio-socket-task[javascript]"'


def import_engine() -> ModuleType:
    """Import the engine.

    Raises:
        ModuleNotFoundError: It is not installed, or is the old one, whose module has the same name, or this is not
            CPython.
    """
    if sys.implementation.name != "cpython":  # the limit of time is lifted by what is freed in time
        raise ModuleNotFoundError("JavaScript needs CPython: its engine has no limit of time on another Python")
    try:
        quickjs = importlib.import_module("quickjs")
        version("quickjs-ng")
    except ImportError as error:
        raise ModuleNotFoundError(f"JavaScript needs quickjs-ng, which is not installed; {_INSTALL}") from error
    return quickjs


class Answer(Protocol):
    """Answers a question of the prelude; what it raises is thrown in the script."""

    def __call__(self, *values: object) -> object: ...


@final
@attrs.frozen(kw_only=True)
class Limits:
    """What a script may use."""

    memory: int
    """Bytes."""
    time: float
    """Seconds of the processor for one turn, its Promise jobs included."""


@final
class Engine:
    """Runs the script, a turn at a time; never calls it while it runs, so that its limits hold."""

    def __init__(
        self,
        answers: Mapping[str, Answer],
        sources: Sources,
        limits: Limits,
        report: Callable[[JavaScriptError], None],
        later: Callable[[Callable[[], object]], None],
    ) -> None:
        self.thread: HomeThread = HomeThread()
        """Where the script runs, and may be called."""
        self._limits = limits
        self._sources = sources
        self._report = report
        self._later = later
        self._released: list[int] = []
        self._running = False
        self._has_rejections = False
        self._started = 0.0
        self._answers = {**answers, "error": self._tell, "rejected": self._note_rejection}
        quickjs = import_engine()
        self._exception: type[Exception] = quickjs.JSException
        self._context = make_context(quickjs)
        self._context.set_memory_limit(limits.memory)
        self._context.set_max_stack_size(_STACK)
        self._context.add_callable("$host", self._answer)
        for name in _PRELUDE:
            source = (Path(__file__).parent / "prelude" / f"{name}.js").read_text(encoding="utf-8")
            self._context.eval("\n" * (sources.add(None, source) - 1) + source)
        self._turn = cast("Callable[..., object]", self._context.eval("$border.turn"))
        self._context.eval("delete globalThis.$border; delete globalThis.$host")

    @trio.lowlevel.enable_ki_protection  # an interrupt must not end a turn halfway
    def call(self, name: str, *values: object) -> object:
        """Call a function of the prelude, then run the jobs of promises; return what it returns, or None.

        What the engine itself throws, because a limit is reached, is reported and returned, and so is what the script
        has made unreadable.
        """
        packed = json.dumps([pack(one) for one in values])
        released = json.dumps([self._released.pop() for _ in range(len(self._released))])
        self._running = True
        if name != "rejections":
            self._started = time.process_time()
        try:
            result = self._take_turn(name, released, packed)
            while self._run_job():
                if self._seconds() > 2 * self._limits.time:  # jobs that live on interrupts
                    self._tell(self._too_long(), "")
                    break
        finally:
            self._running = False
        if self._has_rejections and name != "rejections":  # what a hostile error rejects meanwhile can wait
            self._has_rejections = False
            self.call("rejections")
        return result

    def _take_turn(self, *values: str) -> object:
        try:
            start_time_limit(self._context, self._limits.time)
            return unpack(json.loads(str(self._turn(*values))), self._function)
        except self._exception as error:
            wrong = self._error_of(error)
        except (AttributeError, RecursionError, TypeError, ValueError):
            wrong = JavaScriptError(REPLACED)
        self._report(wrong)
        return wrong

    def _run_job(self) -> bool:
        """Run a job of a promise, if there is one."""
        try:
            return self._context.execute_pending_job()
        except self._exception as error:
            self._report(self._error_of(error))
            return True

    def _error_of(self, thrown: Exception) -> JavaScriptError:
        """Return what the engine has thrown as an error of the script."""
        message, _, stack = str(thrown).partition("\n")
        return self._describe(message, stack)

    def _seconds(self) -> float:
        return time.process_time() - self._started

    def _too_long(self) -> str:
        return f"interrupted: a turn of the script may take {self._limits.time:g} seconds of the processor"

    def error(self, message: str, stack: str) -> JavaScriptError:
        """Return an error of the script; its stack is the engine's."""
        stack = self._sources.stack(stack)
        return JavaScriptError(message, *place(stack), stack)

    def _tell(self, *values: object) -> None:
        message, stack = map(str, values)
        self._report(self._describe(message, stack))

    def _describe(self, message: str, stack: str) -> JavaScriptError:
        """Return an error, in words of its own where a limit is reached."""
        is_late = self._seconds() > self._limits.time
        if message == "InternalError: interrupted" or (message == "null" and is_late):
            message = self._too_long()
        elif message == "null":  # what the engine throws where it has no memory left for an error
            message = (
                f"null: the script threw that, or is out of memory, of which it may have {self._limits.memory} bytes"
            )
        return self.error(message, stack)

    def _note_rejection(self, *_values: object) -> None:
        self._has_rejections = True

    def _answer(self, name: str, text: str) -> str:
        """Answer the prelude; raises nothing, because the engine takes no exception."""
        try:
            values = [unpack(one, self._function) for one in json.loads(text)]
            return json.dumps({"value": pack(self._answers[name](*values))})
        except JavaScriptError as error:
            return json.dumps({"error": ["Error", error.message]})
        except (TypeError, ValueError) as error:
            kind = "TypeError" if isinstance(error, TypeError) else "RangeError"
            return json.dumps({"error": [kind, text_of(error)]})
        except Exception as error:
            _logger.exception("%s raised, and the script is told so", name)
            return json.dumps({"error": ["Error", f"{type(error).__name__}: {text_of(error)}"]})

    def _function(self, number: int) -> Function:
        return Function(number, self, self._released)

    @property
    def is_running(self) -> bool:
        """Whether the script runs just now, and has called Python."""
        return self._running

    def call_later(self, call: Callable[[], object]) -> None:
        """Call a function of the script soon."""
        self._later(call)


@final
class Function:
    """A function of the script. Calling it returns nothing, and what it throws is reported."""

    __slots__ = ("_engine", "_number", "_released")

    def __init__(self, number: int, engine: Engine, released: list[int]) -> None:
        self._number = number
        self._engine = engine
        self._released = released

    def __call__(self, *values: object) -> None:
        """Call it: now, or soon where the script runs just now.

        Raises:
            TypeError: A script has nothing of the kind of a value.
            RuntimeError: This is another thread than that of the program.
        """
        self._engine.thread.check()
        if self._engine.is_running:
            for value in values:
                pack(value)  # raises here, and not later
            self._engine.call_later(partial(self, *values))
        else:
            self._engine.call("invoke", self._number, *values)

    def __del__(self) -> None:
        self._released.append(self._number)
