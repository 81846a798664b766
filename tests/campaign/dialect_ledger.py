"""Every call of the dialect, every socket and every message: what became of it, and whether that may be."""

from __future__ import annotations

from typing import final

import attrs
import trio

from trio_socket_task.miniprogram import SocketTask

from .findings import Findings
from .server import is_whole, name_of

BOTH = {"success", "fail"}
KINDS = ("Open", "Message", "Error", "Close")
"""Of events, in the order in which they happen."""


@final
@attrs.define(eq=False)
class Made:
    """A call that was made."""

    name: str
    task: SocketTask | None
    was_open: bool
    """Whether it was made on a socket that was open."""
    late: bool
    """Whether it was made while the block was being left, or later."""
    listens: set[str] = attrs.field(factory=set)
    """The callbacks that it has; none where nobody knows which can be read."""
    told: list[tuple[str, object]] = attrs.field(factory=list)
    """The callbacks that were called, with the result."""

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
@attrs.define(eq=False)
class DialectLedger:
    """What a program called, and what it was told."""

    findings: Findings
    made: list[Made] = attrs.field(factory=list)
    sockets: list[Socket] = attrs.field(factory=list)
    sent: dict[str, Made | None] = attrs.field(factory=dict)
    """The messages, each with the call that sent it; None during that call."""
    inside: bool = False
    """Whether a call is being made."""
    slept: float = 0.0
    """Seconds that the program's own functions have slept while the block was left."""
    leaving_since: float | None = None
    _read: dict[str, int] = attrs.field(factory=dict)  # messages that servers read, each with its connection

    def begin_to_leave(self) -> None:
        """Note that the block is about to be left."""
        self.findings.note("the block is left")
        self.leaving_since = trio.current_time()
        self.slept = 0.0

    def read(self, connection: int, data: str | bytes) -> None:
        """Note what a server has read."""
        name = name_of(data)
        if not name.startswith("m."):
            return  # a hostile value that is good data
        self.findings.note(f"server {connection} reads {name}")
        self.findings.check(is_whole(data), f"{name} came damaged")
        self.findings.check(name not in self._read, f"{name} was read twice")
        self.findings.check(name in self.sent, f"{name} was read, and never sent")
        self._read[name] = connection

    def tell(self, call: Made, kind: str, result: object) -> None:
        """Note that a callback was called."""
        check, kinds = self.findings.check, [kind for kind, _ in call.told]
        self.findings.note(f"{kind} of {call.name}: {result}")
        check(not self.inside, f"{kind} was called inside a call")
        check(kind not in kinds, f"{kind} of {call.name} was called twice")
        if kind == "complete":
            check(call.verdict is not None or not call.listens >= BOTH, f"{call.name} was completed first")
            same = all(told == result for _, told in call.told)
            check(same, "complete was told something else than success or fail")
        else:
            check(not call.told, f"{kind} of {call.name} came after {kinds}")
            good = isinstance(result, dict) and result["errMsg"].startswith(f"{call.name}:ok")
            check(good == (kind == "success"), f"{kind} was told {result}")
        call.told.append((kind, result))

    def hear(self, kind: str, socket: Socket | None, result: object) -> None:
        """Note that a listener heard an event: one of a socket's own, or another."""
        check = self.findings.check
        self.findings.note(f"on{kind} {'' if socket is None else socket.task!r}: {result!s:.80}")
        check(not self.inside, f"on{kind} was called inside a call")
        if socket is None:
            return
        latest = socket.heard[-1] if socket.heard else "Open"
        check(KINDS.index(kind) >= KINDS.index(latest), f"on{kind} after on{latest}")
        check(kind == "Message" or kind not in socket.heard, f"on{kind} twice")
        socket.heard.append(kind)
        if kind == "Close":
            for call in self.made:
                waits = call.task is socket.task and call.was_open and call.listens >= BOTH
                told = call.verdict is not None or not waits
                check(told, f"onClose before a {call.name} was settled that was made before")

    def check_left(self, bound: float, *, orderly: bool) -> None:
        """Check how long leaving took, on top of what the program's own functions slept."""
        assert self.leaving_since is not None
        took = trio.current_time() - self.leaving_since
        limit = bound + 0.5 + (self.slept if orderly else 0.0)
        self.findings.check(took <= limit, f"leaving took {took:g} s, {limit:g} s at most were to be expected")
        for socket in self.sockets:
            self.findings.check(socket.task.readyState == SocketTask.CLOSED, "a socket is not closed after the block")

    def judge(self, *, orderly: bool, tells_close: bool) -> None:
        """Judge everything, once the block has been left: in order, or by force."""
        for call in self.made:
            if orderly and not call.late:
                self._judge_call(call)
        for socket in self.sockets:
            never_opened = "Error" in socket.heard and "Open" not in socket.heard
            expected = 0 if never_opened and not tells_close else 1
            closes = socket.heard.count("Close")
            has_time = orderly and not socket.call.late
            right = closes == expected if has_time else closes <= expected
            self.findings.check(right, f"{closes} times onClose")
        self._judge_messages()

    def _judge_call(self, call: Made) -> None:
        check = self.findings.check
        if call.listens >= BOTH:
            check(call.verdict is not None, f"{call.name} has neither succeeded nor failed")
        if "complete" in call.listens:
            check(call.told[-1:] and call.told[-1][0] == "complete", f"{call.name} was not completed")

    def _judge_messages(self) -> None:
        latest: dict[int, int] = {}
        for name, connection in self._read.items():
            call, number = self.sent[name], int(name[2:])
            self.findings.check(call is None or call.verdict != "fail", "a message that failed was read")
            self.findings.check(number > latest.get(connection, 0), "messages were read out of order")
            latest[connection] = number
        self.findings.count("messages read", len(self._read))
        self.findings.count(
            "messages sent", sum(call is not None and call.verdict == "success" for call in self.sent.values())
        )
