"""Calls of the dialect with hostile values, and functions of the program that call again, raise, or are async."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import final

import trio

from trio_socket_task.miniprogram import MiniProgram, Outcome, SocketTask

from .dialect_ledger import KINDS, DialectLedger, Made, Socket
from .hostile import HostileError, draw_mapping, draw_value
from .server import message

_BUDGET = 300  # calls that a program makes: one that calls again in every callback has no end of its own
_AT_THE_END = 1000  # calls while the block is left: a program that goes on like that is to end all the same
_PAUSES = (0.0, 0.0, 0.0, 0.01, 0.3, 2.0)
_MANNERS = ("plain", "plain", "plain", "async", "raise", "call", "call", "raise late", "outcome")
_GOOD_OPTIONS: Mapping[str, object] = {
    "url": "ws://server.test/",
    "header": {"X-Token": "secret"},
    "protocols": [],
    "tcpNoDelay": True,
    "timeout": 60_000,
}


@final
class Calls:
    """Makes the calls of a program."""

    def __init__(self, dice: random.Random, ledger: DialectLedger) -> None:
        self._dice = dice
        self._ledger = ledger
        self._findings = ledger.findings
        self._late = 0
        self._messages = 0
        self._reconnects = dice.random() < 0.15  # whether the program connects again whenever it is told of an end
        self._wx: MiniProgram
        self._limit: int | None

    def begin(self, wx: MiniProgram, limit: int | None) -> None:
        """Begin with the program's object, and how many sockets may coexist."""
        self._wx = wx
        self._limit = limit

    async def run_actor(self, number: int) -> None:
        """Make calls by and by."""
        for _ in range(number):
            outcome = self.make()
            if outcome is not None and self._dice.random() < 0.2:
                with trio.move_on_after(self._dice.choice(_PAUSES)):
                    result = await outcome
                    self._findings.check(result["errMsg"], "an awaited call without errMsg")
            await trio.sleep(self._dice.choice(_PAUSES))

    def make(self, call: Callable[[], Outcome | None] | None = None) -> Outcome | None:
        """Make a call, of any kind where none is given."""
        if self._ledger.leaving_since is not None:
            self._late += 1
            if self._late > _AT_THE_END:
                self._findings.wrong("a program that calls again whenever it is told keeps its block from ending")
                return None
        elif len(self._ledger.made) > _BUDGET:
            return None
        kinds = (self._connect, self._send, self._burst, self._close, self._listen, self._look)
        return (call or self._dice.choices(kinds, (2, 2, 1, 1, 1, 1))[0])()

    def _call(
        self, name: str, function: Callable[..., object], task: SocketTask | None, options: dict[str, object]
    ) -> tuple[Made, object]:
        """Call a vendor function with callbacks, in one of the ways in which it can be called."""
        was_open = task is not None and task.readyState == SocketTask.OPEN
        call = Made(name, task, was_open, self._ledger.leaving_since is not None)
        self._ledger.made.append(call)
        self._findings.count("calls")
        callbacks = self._callbacks(call)
        positional: tuple[object, ...] = ()
        keywords: Mapping[str, object] = {**options, **callbacks}
        if self._dice.random() < 0.1:
            positional, keywords = (draw_mapping(self._dice, keywords),), {}
            call.listens.clear()
        elif self._dice.random() < 0.5:
            positional, keywords = (dict(keywords),), {}
        elif self._dice.random() < 0.5:
            positional, keywords = (options,), callbacks
        self._findings.note(f"{name}({', '.join(sorted(options))}; {', '.join(sorted(call.listens))})")
        was_inside, self._ledger.inside = self._ledger.inside, True
        result: object = None
        try:
            result = function(*positional, **keywords)
        except Exception as error:  # noqa: BLE001 (judged)
            self._findings.wrong(f"{name} raised {type(error).__name__}: {error}")
        finally:
            self._ledger.inside = was_inside
        return call, result

    def _options(self, names: Mapping[str, object]) -> dict[str, object]:
        """Draw options: good ones, hostile ones, some left out, some unknown."""
        options: dict[str, object] = {}
        for name, good in names.items():
            kind = self._dice.random()
            if kind < 0.8:
                options[name] = good
            elif kind < 0.95:
                options[name] = draw_value(self._dice)
        if self._dice.random() < 0.1:
            options["method"] = draw_value(self._dice)
        return options

    def _connect(self) -> None:
        options: dict[str, object] = {"url": "ws://server.test/"}
        if self._dice.random() < 0.5:
            options = self._options(_GOOD_OPTIONS)
        call, task = self._call("connectSocket", self._wx.connectSocket, None, options)
        if not isinstance(task, SocketTask):
            self._findings.wrong(f"connectSocket returned {type(task).__name__}")
        elif task.readyState != SocketTask.CLOSED:
            self._findings.count("sockets")
            socket = Socket(task, call)
            self._ledger.sockets.append(socket)
            for kind in KINDS:
                getattr(task, f"on{kind}")(self._listener(kind, socket))

    def _task(self) -> SocketTask | None:
        recent = self._ledger.sockets[-6:]
        return self._dice.choice(recent).task if recent else None

    def _send(self) -> Outcome | None:
        task = self._task()
        self._messages += 1
        name = f"m.{self._messages}"
        text = message(name, self._dice.choice((0, 10, 400, 3000)))
        is_good = self._dice.random() < 0.7
        options: dict[str, object] = {"data": text} if is_good else self._options({"data": text})
        if task is not None and self._dice.random() < 0.7:
            function: Callable[..., object] = task.send
        else:
            function, task = self._wx.sendSocketMessage, None
        self._ledger.sent[name] = None
        call, outcome = self._call("sendSocketMessage", function, task, options)
        self._ledger.sent[name] = call
        return outcome if isinstance(outcome, Outcome) else None

    def _burst(self) -> None:
        for _ in range(self._dice.randint(2, 8)):
            self._send()

    def _close(self) -> Outcome | None:
        task = self._task()
        options = self._options({"code": 1000, "reason": "bye"})
        if task is not None and self._dice.random() < 0.6:
            _, outcome = self._call("closeSocket", task.close, task, options)
        else:
            _, outcome = self._call("closeSocket", self._wx.closeSocket, None, options)
        return outcome if isinstance(outcome, Outcome) else None

    def _listen(self) -> None:
        kind = self._dice.choice(KINDS)
        task = self._task()
        listener = self._listener(kind, None) if self._dice.random() < 0.7 else draw_value(self._dice)
        try:
            if task is not None and self._dice.random() < 0.5:
                getattr(task, f"on{kind}")(listener)
            else:
                getattr(self._wx, f"onSocket{kind}")(listener)
        except Exception as error:  # noqa: BLE001 (judged)
            self._findings.wrong(f"on{kind} raised {type(error).__name__}: {error}")

    def _look(self) -> None:
        task = self._task()
        self._findings.check(repr(self._wx), "an empty repr")
        if task is not None:
            self._findings.check(task.readyState in (0, 1, 2, 3) and repr(task), "a readyState that is none")
        alive = [socket for socket in self._ledger.sockets if socket.task.readyState != SocketTask.CLOSED]
        self._findings.check(self._limit is None or len(alive) <= self._limit, "more sockets than the limit")

    # What is called back

    def _callbacks(self, call: Made) -> dict[str, object]:
        callbacks: dict[str, object] = {}
        for kind in ("success", "fail", "complete"):
            if self._dice.random() < 0.85:
                callbacks[kind] = self._callback(call, kind)
                call.listens.add(kind)
            elif self._dice.random() < 0.5:
                value = draw_value(self._dice)
                if not callable(value):
                    callbacks[kind] = value
        return callbacks

    def _callback(self, call: Made, kind: str) -> Callable[[object], object]:
        return self._function(kind, lambda result: self._ledger.tell(call, kind, result))

    def _listener(self, kind: str, socket: Socket | None) -> Callable[[object], object]:
        return self._function(kind, lambda result: self._ledger.hear(kind, socket, result))

    def _function(self, kind: str, note: Callable[[object], None]) -> Callable[[object], object]:
        """Return a function that notes what it is told, and then does what functions of programs do."""
        manner = self._dice.choice(_MANNERS)

        def plain(result: object) -> object:
            note(result)
            if self._reconnects and kind in ("fail", "Close"):
                self.make(self._connect)
            if manner == "raise":
                raise HostileError
            outcome = self.make() if manner in ("call", "outcome") else None
            return outcome if manner == "outcome" else None

        async def slow(result: object) -> None:
            note(result)
            seconds = self._dice.choice((0.0, 0.01, 0.1))
            self._ledger.slept += seconds
            await trio.sleep(seconds)
            self.make()
            if manner == "raise late":
                raise HostileError

        return slow if manner in ("async", "raise late") else plain
