"""Signs of life: pings at intervals, messages in time, and what it means when they do not come."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import final

import attrs
import trio

from trio_socket_task._checks import encode_payload
from trio_socket_task._options import Heartbeat, Options
from trio_socket_task._protocol._decoder import Message, Opcode
from trio_socket_task._protocol._encoder import encode

from ._pings import PendingPing, Pings
from ._reader import Reading
from ._statistics import Traffic
from ._writer import Outgoing

_logger = logging.getLogger("trio_socket_task")


@final
@attrs.frozen(eq=False)
class Signs:
    """What shows that one socket's peer is alive."""

    _options: Options
    _outgoing: Outgoing
    _reading: Reading
    _pings: Pings
    _traffic: Traffic

    def watch(self, nursery: trio.Nursery, may_speak: Callable[[], bool], on_lost: Callable[[str], None]) -> None:
        """Look for what the options ask for, from now on, and call `on_lost` when that is missing.

        A heartbeat sends messages only where `may_speak` says so.
        """
        self._traffic.spoken_at = trio.current_time()
        self._reading.is_timed = self._options.heartbeat is not None or self._options.receive_timeout is not None
        if self._options.heartbeat is not None:
            nursery.start_soon(self._beat, self._options.heartbeat, may_speak, on_lost)
        if self._options.receive_timeout is not None:
            nursery.start_soon(self._bear_silence, self._options.receive_timeout, on_lost)

    def ping(self, *, in_order: bool = False) -> PendingPing:
        """Send a ping: at once, or after the messages that wait, so that its pong tells that they were read."""
        ping = self._pings.start(in_order=in_order)
        if in_order:
            self._outgoing.put_in_order(ping.frame)
            self._reading.take_over()
        else:
            self._put(ping)
        return ping

    def _put(self, ping: PendingPing) -> PendingPing:
        self._outgoing.put_ping(ping.frame)
        self._reading.take_over()
        return ping

    def _ask(self, heartbeat: Heartbeat, may_speak: Callable[[], bool]) -> PendingPing:
        if heartbeat.message is None or not may_speak():
            return self.ping()
        opcode = Opcode.TEXT if isinstance(heartbeat.message, str) else Opcode.BINARY
        return self._put(self._pings.ask(encode(opcode, encode_payload(heartbeat.message))))

    def without_replies(self, heartbeat: Heartbeat, messages: list[Message]) -> list[Message]:
        """Take from messages that came what answers the heartbeat's own."""
        if heartbeat.message is None:
            return messages
        others = [message for message in messages if not _is_reply(heartbeat, message[0])]
        if len(others) < len(messages):
            self._pings.reply()
        return others

    @trio.lowlevel.enable_ki_protection
    async def _beat(self, heartbeat: Heartbeat, may_speak: Callable[[], bool], on_lost: Callable[[str], None]) -> None:
        """Ping until the socket closes, or the peer gives no sign of life in time.

        The time runs while the ping is with the peer and its pong could be seen: not while it waits behind an upload
        that makes progress, and not while reading is paused. Whatever comes in starts it anew: a pong cannot stand
        inside the frame of a large message that is coming in.
        """
        outgoing, reading = self._outgoing, self._reading
        while True:
            await trio.sleep(heartbeat.interval)
            ping, taken, looked = self._ask(heartbeat, may_speak), None, False
            while not ping.settled.is_set():
                if outgoing.finished:
                    return  # a close has a deadline of its own
                if taken is None and not outgoing.holds_ping(ping.frame):
                    taken = outgoing.pings_taken
                left = outgoing.progress if taken is None else taken
                since = max(ping.sent, left, reading.paused_until, reading.received_at)
                if trio.current_time() >= since + heartbeat.timeout:
                    if not looked:
                        looked = True
                        await reading.look()
                        continue
                    answer = "pong" if heartbeat.message is None else "reply to the heartbeat's message"
                    on_lost(f"no {answer} within {heartbeat.timeout:g} seconds")
                    return
                looked = False
                with trio.move_on_at(min(since, trio.current_time()) + heartbeat.timeout):
                    await ping.settled.wait()

    @trio.lowlevel.enable_ki_protection
    async def _bear_silence(self, seconds: float, on_lost: Callable[[str], None]) -> None:
        """Wait until the socket closes, or the peer has said nothing for so long, not counting pauses of reading.

        An answer to this side's own pings says that the peer lives, not that it speaks. A part of a message does.
        """
        reading, looked = self._reading, False
        while not self._outgoing.finished:
            now = trio.current_time()
            since = max(self._traffic.spoken_at, reading.incomplete_at, reading.paused_until)
            if now < since + seconds:
                looked = False
                await trio.sleep_until(min(since, now) + seconds)
            elif not looked:
                looked = True
                await reading.look()
            else:
                on_lost(f"no message within {seconds:g} seconds")
                return


def _is_reply(heartbeat: Heartbeat, data: str | bytes) -> bool:
    try:
        return heartbeat.is_reply(data)
    except Exception:
        _logger.exception("the heartbeat's reply function raised; the message is taken for the program's")
        return False
