"""Calls of the dialect with hostile values, and what became of each."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Literal, final

import attrs
import trio

from trio_socket_task.miniprogram import MiniProgram, Outcome, SocketTask

from .findings import Findings
from .hostile import HostileError, draw_mapping, draw_value
from .server import is_whole, message, name_of

_BUDGET = 300  # calls that a program makes: one that calls again in every callback has no end of its own
_AT_THE_END = 100  # calls while the block is being left: a program that goes on like that is to end all the same
_PAUSES = (0.0, 0.0, 0.0, 0.01, 0.3, 2.0)


@final
@attrs.define(eq=False)
class Made:
    """A call that was made."""

    name: str
    task: SocketTask | None
    was_open: bool
    """Whether it was made while its socket was open, or its program was not being left."""
    late: bool
    """Whether it was made while the block was being left, or later."""
    listens: set[str] = attrs.field(factory=set)
    """The callbacks that it has."""
    told: list[tuple[str, object]] = attrs.field(factory=list)
    """The callbacks that were called, with the result."""
    message: str | None = None
    outcome: Outcome | None = None

    @property
    def verdict(self) -> str | None:
        """Whether success or fail was called, so far."""
        return next((kind for kind, _ in self.told if kind != "complete"), None)


@final
@attrs.define(eq=False)
class Socket:
    """A socket that was made, and the events that its listeners heard."""

    task: SocketTask
    call: Made
    heard: list[str] = attrs.field(factory=list)


@final
class Calls:
    """Every call that a program makes."""

    def __init__(self, dice: random.Random, findings: Findings) -> None:
        self._dice = dice
        self._findings = findings
        self._made: list[Made] = []
        self._sockets: list[Socket] = []
        self._inside = False
        self._leaving_since: float | None = None
        self._late = 0
        self._messages = 0
        self._sent: dict[str, Made] = {}
        self._read: list[str] = []
        self._slept = 0.0
        self._reconnects = dice.random() < 0.15
        self._wx: MiniProgram
        self._limit: int | None

    def begin(self, wx: MiniProgram, limit: int | None) -> None:
        """Begin with the program's object, and how many sockets may coexist."""
        self._wx = wx
        self._limit = limit

    def begin_to_leave(self) -> None:
        """Note that the block is about to be left."""
        self._findings.note("the block is left")
        self._leaving_since = trio.current_time()
        self._slept = 0.0

    def on_read(self, connection: int, data: str | bytes) -> None:
        """Note what a server has read."""
        name = name_of(data)
        if not name.startswith("m."):
            return  # a hostile value that is good data
        self._findings.note(f"server {connection} reads {name}")
        self._findings.check(is_whole(data), f"{name} came damaged")
        self._findings.check(name not in self._read, f"{name} was read twice")
        self._findings.check(name in self._sent, f"{name} was read, and never sent")
        self._read.append(name)

    async def run_actor(self, number: int) -> None:
        """Make calls by and by."""
        for _ in range(number):
            outcome = self.make()
            if outcome is not None and self._dice.random() < 0.2:
                with trio.move_on_after(self._dice.choice(_PAUSES)):
                    result = await outcome
                    self._findings.check(result["errMsg"], "an awaited call without errMsg")
            await trio.sleep(self._dice.choice(_PAUSES))

    # Calls

    def make(self, call: Callable[[], Outcome | None] | None = None) -> Outcome | None:
        """Make a call, of any kind where none is given."""
        if self._leaving_since is not None:
            self._late += 1
            if self._late > _AT_THE_END:
                self._findings.wrong("a program that calls again whenever it is told keeps its block from ending")
                return None
        elif len(self._made) > _BUDGET:
            return None
        kinds = (
            self._connect,
            self._connect,
            self._send,
            self._send,
            self._burst,
            self._close,
            self._listen,
            self._look,
        )
        return (call or self._dice.choice(kinds))()

    def _call(
        self, name: str, function: Callable[..., object], task: SocketTask | None, options: dict[str, object]
    ) -> tuple[Made, object]:
        """Call a vendor function with callbacks, in one of the ways in which it can be called."""
        was_open = task is not None and task.readyState == SocketTask.OPEN
        call = Made(name, task, was_open, self._leaving_since is not None)
        self._made.append(call)
        self._findings.count("calls")
        callbacks = self._callbacks(call)
        spoilt = self._dice.random() < 0.1
        positional: tuple[object, ...] = ()
        keywords: Mapping[str, object] = {**options, **callbacks}
        if spoilt:
            positional, keywords = (draw_mapping(self._dice, keywords),), {}
            call.listens.clear()  # nobody knows which can be read
        elif self._dice.random() < 0.5:
            positional, keywords = (dict(keywords),), {}
        elif self._dice.random() < 0.5:
            positional, keywords = (options,), callbacks
        self._findings.note(f"{name}({', '.join(sorted(options))}; {', '.join(sorted(call.listens))})")
        self._inside, was_inside = True, self._inside
        result: object = None
        try:
            result = function(*positional, **keywords)
        except Exception as error:  # noqa: BLE001 (judged)
            self._findings.wrong(f"{name} raised {type(error).__name__}: {error}")
        finally:
            self._inside = was_inside
        if isinstance(result, Outcome):
            call.outcome = result
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
        good = {
            "url": "ws://server.test/",
            "header": {"X-Token": "secret"},
            "protocols": [],
            "tcpNoDelay": True,
            "timeout": 60_000,
        }
        options: dict[str, object] = {"url": "ws://server.test/"}
        if self._dice.random() < 0.5:
            options = self._options(good)
        call, task = self._call("connectSocket", self._wx.connectSocket, None, options)
        if not isinstance(task, SocketTask):
            self._findings.wrong(f"connectSocket returned {type(task).__name__}")
            return
        call.task = task
        if task.readyState != SocketTask.CLOSED:
            self._findings.count("sockets")
            socket = Socket(task, call)
            self._sockets.append(socket)
            for kind in ("Open", "Message", "Error", "Close"):
                getattr(task, f"on{kind}")(self._listener(kind, socket))

    def _task(self) -> SocketTask | None:
        recent = self._sockets[-6:]
        return self._dice.choice(recent).task if recent else None

    def _send(self) -> Outcome | None:
        task = self._task()
        self._messages += 1
        name = f"m.{self._messages}"
        text = message(name, self._dice.choice((0, 10, 400, 3000)))
        good = self._dice.random() < 0.7
        options: dict[str, object] = {"data": text} if good else self._options({"data": text})
        if options.get("data") is not text:
            name = ""
        if task is not None and self._dice.random() < 0.7:
            function: Callable[..., object] = task.send
        else:
            function, task = self._wx.sendSocketMessage, None
        if name:
            self._sent[name] = Made("", None, was_open=False, late=False)  # it may be read in the call
        call, _ = self._call("sendSocketMessage", function, task, options)
        if name:
            call.message = name
            self._sent[name] = call
        return call.outcome

    def _burst(self) -> None:
        for _ in range(self._dice.randint(2, 8)):
            self._send()

    def _close(self) -> Outcome | None:
        task = self._task()
        options = self._options({"code": 1000, "reason": "bye"})
        if task is not None and self._dice.random() < 0.6:
            return self._call("closeSocket", task.close, task, options)[0].outcome
        return self._call("closeSocket", self._wx.closeSocket, None, options)[0].outcome

    def _listen(self) -> None:
        kind = self._dice.choice(("Open", "Message", "Error", "Close"))
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
        alive = [socket for socket in self._sockets if socket.task.readyState != SocketTask.CLOSED]
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
        return self._behaving(kind, lambda result: self._tell(call, kind, result))

    def _tell(self, call: Made, kind: str, result: object) -> None:
        self._findings.note(f"{kind} of {call.name}: {result}")
        self._findings.check(not self._inside, f"{kind} was called inside a call")
        self._findings.check(kind in call.listens or not call.listens, f"{kind} was called, and is not there")
        kinds = [kind for kind, _ in call.told]
        self._findings.check(kind not in kinds, f"{kind} of {call.name} was called twice")
        if kind == "complete":
            verdict = call.verdict
            self._findings.check(verdict is not None or not {"success", "fail"} <= call.listens, "complete came first")
            same = all(told == result for _, told in call.told)
            self._findings.check(same, "complete was told something else than success or fail")
        else:
            self._findings.check(not call.told, f"{kind} of {call.name} came after {kinds}")
            good = isinstance(result, dict) and result["errMsg"].startswith(f"{call.name}:ok")
            self._findings.check(good == (kind == "success"), f"{kind} was told {result}")
        call.told.append((kind, result))

    def _listener(self, kind: str, socket: Socket | None) -> Callable[[object], object]:
        return self._behaving(kind, lambda result: self._hear(kind, socket, result))

    def _hear(self, kind: str, socket: Socket | None, result: object) -> None:
        self._findings.note(f"on{kind} {'' if socket is None else socket.task!r}: {result!s:.80}")
        self._findings.check(not self._inside, f"on{kind} was called inside a call")
        if socket is None:
            return
        order = ("Open", "Message", "Error", "Close")
        latest = socket.heard[-1] if socket.heard else "Open"
        self._findings.check(order.index(kind) >= order.index(latest), f"on{kind} after on{latest}")
        self._findings.check(kind == "Message" or kind not in socket.heard, f"on{kind} twice")
        socket.heard.append(kind)
        if kind == "Close":
            for call in self._made:
                waits = call.task is socket.task and call.was_open and {"success", "fail"} <= call.listens
                told = call.verdict is not None or not waits
                self._findings.check(told, f"onClose before a {call.name} was settled that was made before")

    def _behaving(self, kind: str, tell: Callable[[object], None]) -> Callable[[object], object]:
        """Return a function that tells, and then does what functions of a program do."""
        manner: Literal["plain", "async", "raise", "call", "raise late", "outcome"] = self._dice.choice(
            ("plain", "plain", "plain", "async", "raise", "call", "call", "raise late", "outcome")
        )

        def plain(result: object) -> object:
            tell(result)
            if self._reconnects and kind in ("fail", "Close"):
                self.make(self._connect)
            if manner == "raise":
                raise HostileError
            if manner in ("call", "outcome"):
                outcome = self.make()
                return outcome if manner == "outcome" else None
            return None

        async def slow(result: object) -> None:
            tell(result)
            seconds = self._dice.choice((0.0, 0.01, 0.1))
            self._slept += seconds
            await trio.sleep(seconds)
            self.make()
            if manner == "raise late":
                raise HostileError

        return slow if manner in ("async", "raise late") else plain

    # Judgement

    def check_left(self, bound: float, *, orderly: bool) -> None:
        """Check how long leaving took, on top of what the program's own functions slept."""
        assert self._leaving_since is not None
        took = trio.current_time() - self._leaving_since
        limit = bound + 0.5 + (self._slept if orderly else 0.0)
        self._findings.check(took <= limit, f"leaving took {took:g} s, {limit:g} s at most were to be expected")
        for socket in self._sockets:
            self._findings.check(socket.task.readyState == SocketTask.CLOSED, "a socket is not closed after the block")

    def judge(self, *, orderly: bool, tells_close: bool) -> None:
        """Judge every call, and every socket."""
        check = self._findings.check
        for call in self._made:
            if orderly and not call.late:
                if {"success", "fail"} <= call.listens:
                    check(call.verdict is not None, f"{call.name} has neither succeeded nor failed")
                if "complete" in call.listens:
                    check(call.told[-1:] and call.told[-1][0] == "complete", f"{call.name} was not completed")
        for socket in self._sockets:
            never_opened = "Error" in socket.heard and "Open" not in socket.heard
            expected = 0 if never_opened and not tells_close else 1
            closes = socket.heard.count("Close")
            check(closes <= expected, f"{closes} times onClose")
            if orderly and not socket.call.late:
                check(closes == expected, f"{closes} times onClose")
        self._judge_messages()

    def _judge_messages(self) -> None:
        check = self._findings.check
        for name in self._read:
            call = self._sent.get(name)
            check(call is None or call.verdict != "fail", "a message that failed was read")
        self._findings.count("messages read", len(self._read))
        self._findings.count("messages sent", sum(call.verdict == "success" for call in self._sent.values()))
