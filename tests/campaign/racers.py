"""Tasks that race on one socket."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import final

import trio

from trio_socket_task import (
    CloseEvent,
    ConnectError,
    ReadyState,
    SocketClosedError,
    SocketLostError,
    SocketNotOpenError,
    SocketTask,
)

from .findings import Findings
from .race_server import Seen
from .server import is_whole, message, name_of

_OVER = (SocketClosedError, SocketLostError)
_CLOSES = ((1000, ""), (3000, "bye"), (4999, "x" * 123))


@final
class Racers:
    """Tasks on one socket, and what they saw."""

    def __init__(self, task: SocketTask, path: str, dice: random.Random, findings: Findings, *, waits: bool) -> None:
        self.task = task
        self.path = path
        self._dice = dice
        self._findings = findings
        self._waits = waits
        self._accepted: list[str] = []
        self._logs: list[list[str]] = [[]]
        """What readers took: all calls of receive together, and each listener."""
        self._closes: list[CloseEvent] = []
        self._closed_by_hand = False
        self._errors: list[Exception] = []

    async def run(self, *, closes: bool) -> None:
        """Race; at last the socket is closed, unless the caller is to do so."""
        events, errors = self.task.on_close(), self.task.on_error()
        kinds = [self._send, self._send, self._send, self._receive, self._receive, self._listen, self._listen]
        kinds += [self._ping, self._look, self._close]
        endless = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            for kind in self._dice.sample(kinds, self._dice.randint(2, len(kinds))):
                nursery.start_soon(self._run_one, kind)
            await self.pause(300)
            if closes or self._dice.random() < 0.5:
                await self._close_now()
            elif self._dice.random() < 0.5:
                nursery.cancel_scope.cancel()
            else:
                self.task.close()
        endless.cancel()
        if closes:
            await self.task.wait_closed()
            self._closes = [event async for event in events]
            self._errors = [event.error async for event in errors]
            self._findings.check(len(self._closes) == 1, f"{len(self._closes)} close events")
            self._findings.check(len(self._errors) <= 1, f"{len(self._errors)} error events")

    async def _run_one(self, kind: Callable[[], Awaitable[None]]) -> None:
        await self.pause(5)
        with trio.CancelScope() as scope:
            if self._dice.random() < 0.1:
                scope.cancel()
            await kind()

    async def pause(self, most: int) -> None:
        """Let others run."""
        if self._waits and self._dice.random() < 0.1:
            await trio.sleep(self._dice.choice((0.0, 0.001, 0.3)))
        for _ in range(self._dice.randint(0, most)):
            await trio.lowlevel.checkpoint()

    def _judge_error(self, call: str, error: Exception, *allowed: type[Exception]) -> None:
        self._findings.note(f"{self.path} {call}: {error!r}")
        self._findings.check(isinstance(error, allowed), f"{call} raised {error!r}")
        self._errors.append(error)

    async def _send(self) -> None:
        name = f"{len(self._logs)}{self._dice.randrange(10**9)}"
        for number in range(self._dice.randint(0, 20)):
            text = message(f"{name}.{number}", self._dice.choice((0, 10, 500, 3000)))
            with trio.CancelScope() as scope:
                try:
                    if self._dice.random() < 0.3:
                        self.task.send_nowait(text)
                    else:
                        if self._dice.random() < 0.1:
                            scope.deadline = trio.current_time()
                        await self.task.send(text if number % 2 else text.encode())
                except trio.WouldBlock:
                    self._findings.count("send_nowait would block")
                except Exception as error:  # noqa: BLE001 (judged)
                    self._judge_error("send", error, SocketNotOpenError, *_OVER)
                    if self.task.ready_state is not ReadyState.CONNECTING:
                        return
                    await self.pause(20)
                else:
                    self._accepted.append(name_of(text))
            await self.pause(3)

    async def _receive(self) -> None:
        for _ in range(self._dice.randint(1, 60)):
            with trio.CancelScope() as scope:
                if self._dice.random() < 0.1:
                    scope.deadline = trio.current_time()
                try:
                    self._take(self._logs[0], await self.task.receive())
                except (trio.EndOfChannel, SocketLostError) as error:
                    self._judge_error("receive", error, Exception)
                    return
            await self.pause(2)

    def _take(self, log: list[str], data: str | bytes) -> None:
        self._findings.check(is_whole(data), "a message came damaged")
        log.append(name_of(data))

    async def _listen(self) -> None:
        for _ in range(self._dice.randint(1, 5)):
            log: list[str] = []
            self._logs.append(log)
            async with self.task.on_message() as listener:
                for _ in range(self._dice.randint(0, 10)):
                    try:
                        self._take(log, (await listener.receive()).data)
                    except trio.EndOfChannel:
                        return
            await self.pause(5)

    async def _ping(self) -> None:
        for _ in range(self._dice.randint(1, 10)):
            try:
                rtt = await self.task.ping()
            except Exception as error:  # noqa: BLE001 (judged)
                self._judge_error("ping", error, SocketNotOpenError, *_OVER)
                await self.pause(20)
            else:
                self._findings.check(rtt >= 0, f"a round trip of {rtt} s")
                self._findings.count("pongs")

    async def _look(self) -> None:
        latest = self.task.statistics()
        for _ in range(self._dice.randint(1, 30)):
            await self.pause(10)
            figures = self.task.statistics()
            for name in ("messages_sent", "messages_received", "bytes_sent", "bytes_received"):
                self._findings.check(getattr(figures, name) >= getattr(latest, name), f"{name} went down")
            self._findings.check(figures.send_buffered >= 0, "a negative buffer")
            self._findings.check(
                figures.messages_sent == len(self._accepted), "messages_sent is not what send accepted"
            )
            latest = figures

    async def _close(self) -> None:
        await self.pause(100)
        if self._dice.random() < 0.5:
            await self._close_now()

    async def _close_now(self) -> None:
        code, reason = self._dice.choice(_CLOSES)
        if self._dice.random() < 0.5:
            self.task.close(code, reason)
        else:
            await self.task.aclose(code, reason)

    def judge(self, seen: Seen | None) -> None:
        """Judge what both sides saw, once the socket has closed."""
        check, figures = self._findings.check, self.task.statistics()
        check(self.task.ready_state is ReadyState.CLOSED, "a socket is not closed")
        check(figures.messages_sent == len(self._accepted), "messages_sent is not what send accepted")
        self._findings.count("messages sent", len(self._accepted))
        if seen is None:
            check(not self._accepted, "messages were accepted by a socket that no server knows")
            return
        read = [name_of(data) for data in seen.read]
        self._findings.count("messages read by the server", len(read))
        check(_is_subsequence(read, self._accepted), "the server read messages out of order, or others than were sent")
        check(read == self._accepted[: len(read)], "the server missed a message in the middle")
        for log in self._logs:
            self._findings.count("messages received", len(log))
            check(_is_slice(log, read), "a reader missed a message, or had it twice, or out of order")
        if seen.fate == "echo":
            lost = [error for error in self._errors if isinstance(error, SocketLostError | ConnectError)]
            check(not lost, f"a good server, and {lost[:1]!r}")
            event = self.task.close_event
            if event is not None and event.peer_code is not None and seen.to_the_end:
                check(read == self._accepted, "a clean close, and not everything sent was read")


def _is_subsequence(part: Sequence[str], whole: Sequence[str]) -> bool:
    rest = iter(whole)
    return all(one in rest for one in part)


def _is_slice(part: Sequence[str], whole: Sequence[str]) -> bool:
    if not part:
        return True
    start = whole.index(part[0]) if part[0] in whole else len(whole)
    return list(part) == list(whole[start : start + len(part)])
