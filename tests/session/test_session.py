"""`_session`: the life of a connection, against a scripted peer."""

from __future__ import annotations

import re
import socket
import ssl
import struct
from contextlib import suppress
from functools import partial

import pytest
import trio
import trio.lowlevel
from conftest import Serve, ServeTcp
from needs import reset_text
from peer import BINARY, CLOSE, PING, PONG, TEXT, URL, Peer, close_frame, echo, frame, reset, silent
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_socket_task import (
    CloseEvent,
    ConnectOptions,
    ConnectTimeoutError,
    Heartbeat,
    ReadyState,
    SocketClosedError,
    SocketLostError,
    SocketNotOpenError,
    SocketTask,
    connect_socket,
    open_socket_manager,
)
from trio_socket_task._options import Options
from trio_socket_task._session import _opening
from trio_socket_task._session._clock import clock_of_this_run
from trio_socket_task._session._poller import poller_of_this_run
from trio_socket_task._session._writer import Writer
from trio_socket_task._socket_task import session_of
from trio_socket_task._stream._connect import Connected, connect
from trio_socket_task._stream._progress import Progress
from trio_socket_task.testing import Script, SocketServer


async def events(task: SocketTask) -> tuple[list[str], list[CloseEvent]]:
    """Take a closed socket's error and close events."""
    return [event.err_msg async for event in task.on_error()], [event async for event in task.on_close()]


def then(*frames: bytes, finish: bool = True, seen: list[object] | None = None) -> object:
    """Give a script that accepts, sends frames, and takes part in the close unless told otherwise."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(*frames)
        if finish:
            closed = await peer.finish()
            if seen is not None:
                seen.append(closed)
        else:
            await peer.read_end()

    return script


async def accept_and_leave(peer: Peer) -> None:
    """End the connection without a word."""
    await peer.accept()
    await peer.stream.aclose()


async def test_the_deadline_covers_dialling(autojump_clock: MockClock) -> None:
    """A name that takes for ever to resolve, say."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    with pytest.raises(ConnectTimeoutError, match="within 3 seconds"):
        async with connect_socket(URL, dial=dial, timeout=3):
            pass
    assert trio.current_time() == 3


async def test_a_dial_that_fails_while_it_is_called_off(autojump_clock: MockClock) -> None:
    """The deadline is what counts, whatever comes out of the nursery of the dial."""

    async def fail_late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("late")

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_late)
            await trio.sleep_forever()
        raise AssertionError

    with pytest.raises(ConnectTimeoutError):
        async with connect_socket(URL, dial=dial, timeout=3):
            pass


async def test_text_and_binary_go_and_come(memory_socket_server: SocketServer) -> None:
    """Text stays str, binary stays bytes."""
    async with connect_socket(URL, dial=memory_socket_server.dial) as task:
        for data in ("汉", b"\x00\xff", "", b"", bytearray(b"a"), memoryview(b"b")):
            await task.send(data)
            received = await task.receive()
            assert received == data
            assert type(received) is (str if isinstance(data, str) else bytes)
    assert task.close_event == CloseEvent(code=1000, peer_code=1000)


async def test_leaving_the_block_closes_with_1000(serve: Serve) -> None:
    """And the socket is CLOSED afterwards, without an error event."""
    seen: list[object] = []
    async with connect_socket(URL, dial=serve(then(seen=seen))) as task:
        assert task.ready_state is ReadyState.OPEN
        assert task.close_event is None
    assert seen == [(1000, "")]
    assert await events(task) == ([], [CloseEvent(code=1000, peer_code=1000)])


@pytest.mark.parametrize(
    ("code", "ends_quietly"), [(1000, True), (1001, True), (1005, True), (1011, False), (4000, False)]
)
async def test_a_close_of_the_peer(serve: Serve, code: int, *, ends_quietly: bool) -> None:
    """It is answered with its own code; iteration ends quietly after 1000, 1001 and no status."""
    answered: list[object] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(TEXT, b"last"), frame(CLOSE) if code == 1005 else close_frame(code, "why"))
        answered.append(await peer.read_close())
        await peer.stream.aclose()

    reason = "" if code == 1005 else "why"
    async with connect_socket(URL, dial=serve(script)) as task:
        assert await task.receive() == "last"
        with pytest.raises(trio.EndOfChannel if ends_quietly else SocketLostError):
            await task.receive()
        with pytest.raises(SocketLostError) as caught:
            await task.send("too late")
        assert caught.value.close_event.code == code
        event = await task.wait_closed()
    assert event == CloseEvent(code=code, reason=reason, peer_code=code, peer_reason=reason)
    assert answered == [(code, "")]
    assert await events(task) == ([], [event])


async def test_the_peers_answer_is_kept_beside_the_request(serve: Serve) -> None:
    """The requested code and reason stand."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_close()
        await peer.send(close_frame(4999, "other"))
        await peer.stream.aclose()

    async with connect_socket(URL, dial=serve(script)) as task:
        await task.aclose(4001, "mine")
    assert task.close_event == CloseEvent(code=4001, reason="mine", peer_code=4999, peer_reason="other")


async def test_c1_the_peer_never_answers_the_close(serve: Serve, autojump_clock: MockClock) -> None:
    """Quiet, at the deadline, with the requested code."""
    async with connect_socket(URL, dial=serve(then(finish=False)), close_timeout=3) as task:
        started = trio.current_time()
        task.close(4001, "bye")
        assert task.ready_state is ReadyState.CLOSING
    assert trio.current_time() - started == pytest.approx(3)
    assert await events(task) == ([], [CloseEvent(code=4001, reason="bye")])


async def test_c2_the_peer_closes_and_never_ends_the_connection(serve: Serve, autojump_clock: MockClock) -> None:
    """The program knows at once; the connection is gone at the deadline."""
    dial = serve(then(close_frame(1001, "away"), finish=False))
    async with connect_socket(URL, dial=dial, close_timeout=3) as task:
        started = trio.current_time()
        assert [data async for data in task] == []
        assert trio.current_time() == started
    assert trio.current_time() - started == pytest.approx(3)
    assert await events(task) == ([], [CloseEvent(code=1001, reason="away", peer_code=1001, peer_reason="away")])


async def test_c3_a_ping_after_our_close_is_ignored(serve: Serve) -> None:
    """Nothing may follow our Close frame (RFC 6455 section 5.5.1)."""
    rest: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_close()
        await peer.send(frame(PING, b"late"), close_frame(1000))
        await peer.stream.send_all(b"")
        rest.append(bytes(await peer.stream.receive_some()))

    async with connect_socket(URL, dial=serve(script), close_timeout=0.1):
        pass
    assert rest == [b""]


async def test_c4_a_reset_after_our_close(serve_tcp: ServeTcp) -> None:
    """The requested code stands; the error event tells of the reset."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_close()
        assert isinstance(peer.stream, trio.SocketStream)
        await reset(peer.stream)

    async with connect_socket(await serve_tcp(script)) as task:
        await task.aclose(4001, "mine")
    errors, closes = await events(task)
    assert errors == [f"the connection was lost: {reset_text()}"]
    assert closes == [CloseEvent(code=4001, reason="mine")]


async def test_an_end_without_an_answer_to_our_close_is_quiet(serve: Serve) -> None:
    """Many a server ends the connection on Close."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_close()
        await peer.stream.aclose()

    async with connect_socket(URL, dial=serve(script)) as task:
        pass
    assert await events(task) == ([], [CloseEvent(code=1000)])


async def test_c6_messages_after_our_close_are_delivered(serve: Serve) -> None:
    """Until the peer's Close comes."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_close()
        await peer.send(frame(TEXT, b"late"), close_frame(1000))
        await peer.stream.aclose()

    async with connect_socket(URL, dial=serve(script)) as task:
        task.close()
        assert [data async for data in task] == ["late"]


@pytest.mark.parametrize("way", ["exception", "cancel"])
async def test_c7_the_body_raises_or_is_cancelled(serve: Serve, autojump_clock: MockClock, way: str) -> None:
    """Close 1001 goes out without waiting for an answer, and the exception comes out as it was."""
    seen: list[object] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        seen.append(await peer.read_close())
        await trio.sleep_forever()

    error = KeyError("body")
    with trio.CancelScope() as scope:
        started = trio.current_time()
        with pytest.raises(BaseException) as caught:  # noqa: PT011 (both kinds are looked at)
            async with connect_socket(URL, dial=serve(script)) as task:
                if way == "cancel":
                    scope.cancel()
                    await trio.sleep_forever()
                raise error
        assert caught.value.__context__ is None
        assert isinstance(caught.value, trio.Cancelled) if way == "cancel" else caught.value is error
    assert trio.current_time() == started
    await wait_all_tasks_blocked()
    assert seen == [(1001, "")]
    assert task.close_event == CloseEvent(code=1001)


async def test_c7_abort_behind_a_blocked_write(serve: Serve, autojump_clock: MockClock) -> None:
    """Where the peer does not read, it takes a tenth of a second."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep_forever()

    started = trio.current_time()
    with pytest.raises(KeyError):
        async with connect_socket(URL, dial=serve(script, lockstep=True)) as task:
            await task.send("a")
            await task.send("b")
            await wait_all_tasks_blocked()
            raise KeyError
    assert trio.current_time() - started == pytest.approx(0.1)


async def test_c8_a_lost_connection_does_not_replace_the_bodys_exception(serve: Serve) -> None:
    """Not even a group: it passes through un-nested, with its notes."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.aclose()

    group = ExceptionGroup("mine", [ValueError("a")])
    group.add_note("note")
    with pytest.raises(ExceptionGroup) as caught:
        async with connect_socket(URL, dial=serve(script)) as task:
            await task.wait_closed()
            raise group
    assert caught.value is group
    assert (caught.value.message, caught.value.__notes__, caught.value.__context__) == ("mine", ["note"], None)


async def test_c8_a_lost_connection_raises_nothing_by_itself(serve: Serve) -> None:
    """Only the calls that need it do."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.aclose()

    async with connect_socket(URL, dial=serve(script)) as task:
        event = await task.wait_closed()
        with pytest.raises(SocketLostError, match="ended the connection without a Close frame"):
            await task.send("x")
        with pytest.raises(SocketLostError):
            await task.receive()
    assert event == CloseEvent(code=1006)
    assert await events(task) == (
        ["the connection was lost: the peer ended the connection without a Close frame"],
        [event],
    )


async def test_r8_a_reset(socket_server: SocketServer) -> None:
    """SocketLostError with the OS error as its cause, close 1006; what came before is received first."""
    socket_server.handler = Script().send("last").expect("go").drop()
    async with connect_socket(socket_server.url) as task:
        await task.send("go")
        assert await task.receive() == "last"
        with pytest.raises(SocketLostError, match=re.escape(reset_text())) as caught:
            await task.receive()
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        assert await task.wait_closed() == CloseEvent(code=1006)


@pytest.mark.needs("files as sockets")
async def test_a_write_error_is_the_end_where_nothing_is_left_to_read(serve_tcp: ServeTcp) -> None:
    """It is known at once, in the very send that meets it: nothing that the peer said can change it any more."""
    peers: list[trio.SocketStream] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        assert isinstance(peer.stream, trio.SocketStream)
        peers.append(peer.stream)
        await trio.sleep_forever()

    async with connect_socket(await serve_tcp(script)) as task:
        errors = task.on_error()
        peers[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peers[0].socket.close()  # which resets the connection, while nobody else can run
        with pytest.raises(SocketLostError):
            for _ in range(10):
                task.send_nowait("x")
        assert task.close_event == CloseEvent(code=1006)
        assert "1 waiting" in repr(errors)


async def test_a_receive_after_a_close_that_follows_a_violation(serve: Serve, autojump_clock: MockClock) -> None:
    """It ends when the violation is told, and not when the peer has gone at last."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"last") + b"\x83\x00")
        await trio.sleep(100)

    async with connect_socket(URL, dial=serve(script), close_timeout=2) as task:
        assert await task.receive() == "last"
        task.close()
        started = trio.current_time()
        with pytest.raises(trio.EndOfChannel):
            await task.receive()
        assert trio.current_time() < started + 0.2


async def test_r8_tls_ends_without_close_notify(
    serve_tcp: ServeTcp, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """As any other drop: close 1006."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"last"))
        await peer.read_frame()
        assert isinstance(peer.stream, trio.SSLStream)
        await peer.stream.transport_stream.aclose()

    async with connect_socket(await serve_tcp(script, server_context), ssl_context=client_context) as task:
        await task.send("go")
        assert await task.receive() == "last"
        with pytest.raises(SocketLostError):
            await task.receive()
        assert await task.wait_closed() == CloseEvent(code=1006)


async def test_r1_pings_are_answered_while_the_program_does_not_read(serve: Serve, autojump_clock: MockClock) -> None:
    """And the peer's close is seen."""
    pongs: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        for number in range(100):
            await peer.send(frame(TEXT, b"unread"), frame(PING, b"%d" % number))
            opcode, payload = await peer.read_frame()
            assert opcode == PONG
            pongs.append(payload)
        await peer.send(close_frame(1000))
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        assert (await task.wait_closed()).code == 1000
        assert len([data async for data in task]) == 100
    assert pongs == [b"%d" % number for number in range(100)]


async def test_r1_reading_stops_while_the_buffer_is_full(serve: Serve, autojump_clock: MockClock) -> None:
    """Then the peer's writes wait; reading goes on at half the buffer, and nothing is lost."""
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.accept()
        for number in range(200):
            await peer.send(frame(BINARY, b"%1000d" % number))
            sent += 1
        await peer.finish()

    async with connect_socket(URL, dial=serve(script, lockstep=True), receive_buffer=20_000) as task:
        await trio.sleep(1)
        assert sent < 30
        assert 20_000 <= task.statistics().receive_buffered < 25_000
        assert [int(await task.receive()) for _ in range(200)] == list(range(200))


async def test_c10_leaving_while_reading_is_paused(serve: Serve, autojump_clock: MockClock) -> None:
    """What finds no room after our Close is dropped, so that the handshake can finish."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        for _ in range(50):
            await peer.send(frame(BINARY, b"x" * 1000))
        await peer.finish()

    started = trio.current_time()
    async with connect_socket(URL, dial=serve(script, lockstep=True), receive_buffer=5000) as task:
        await wait_all_tasks_blocked()
    assert trio.current_time() - started < 1
    assert task.close_event == CloseEvent(code=1000, peer_code=1000)
    kept = [data async for data in task]
    assert 0 < len(kept) < 10


async def test_c10_leaving_while_a_peer_floods_for_ever(serve: Serve, autojump_clock: MockClock) -> None:
    """Gone by the deadline."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await peer.send(frame(BINARY, b"x" * 1000))
                await trio.sleep(0.01)

    async with connect_socket(URL, dial=serve(script), receive_buffer=5000, close_timeout=2) as task:
        await trio.sleep(1)
        started = trio.current_time()
    assert trio.current_time() - started == pytest.approx(2)
    assert task.close_event == CloseEvent(code=1000)


@pytest.mark.parametrize(
    ("bad", "code"), [(frame(3), 1002), (frame(TEXT, b"\xff"), 1007), (frame(BINARY, b"x" * 101), 1009)]
)
async def test_r6_r7_a_violation(serve: Serve, autojump_clock: MockClock, bad: bytes, code: int) -> None:
    """Close goes out with the right code; what came before is delivered; then the socket is lost."""
    seen: list[object] = []
    dial = serve(then(frame(TEXT, b"good"), bad, frame(TEXT, b"late"), seen=seen))
    async with connect_socket(URL, dial=dial, max_message_size=100) as task:
        assert await task.receive() == "good"
        with pytest.raises(SocketLostError, match="the peer sent "):
            await task.receive()
        assert await task.wait_closed() == CloseEvent(code=1006)
    assert seen == [(code, "")]
    errors, closes = await events(task)
    assert (len(errors), len(closes)) == (1, 1)


async def test_r6_answers_leave_before_the_close_that_reports_a_violation(serve: Serve) -> None:
    """The messages that came before it are the program's to answer."""
    frames: list[tuple[int, bytes]] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(TEXT, b"one"), frame(TEXT, b"two"), frame(5))
        frames.extend([await peer.read_frame() for _ in range(3)])
        await peer.stream.aclose()

    async with connect_socket(URL, dial=serve(script)) as task:
        with pytest.raises(SocketLostError):
            async for data in task:
                await task.send(data)
    assert [opcode for opcode, _ in frames] == [TEXT, TEXT, CLOSE]


async def test_r6_a_violation_while_the_program_does_not_read(serve: Serve, autojump_clock: MockClock) -> None:
    """The Close waits a tenth of a second at most, and a peer that never ends is dropped at the deadline."""
    seen: list[object] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        started = trio.current_time()
        await peer.send(frame(TEXT, b"unread"), frame(5))
        seen.append(await peer.read_close())
        assert trio.current_time() - started == pytest.approx(0.1)
        await peer.read_end()

    async with connect_socket(URL, dial=serve(script), close_timeout=2) as task:
        assert (await task.wait_closed()).code == 1006
    assert seen == [(1002, "")]


async def test_r6_the_peer_ends_right_after_a_violation(serve: Serve) -> None:
    """The violation is the reason, not the end."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(5))
        await peer.stream.aclose()

    async with connect_socket(URL, dial=serve(script)) as task:
        await task.wait_closed()
    assert (await events(task))[0] == ["the connection was lost: the peer sent the unknown opcode 0x5 (section 5.2)"]


async def test_r4_a_heartbeat_notices_a_peer_that_stopped_reading(serve: Serve, autojump_clock: MockClock) -> None:
    """At its deadline, though a send is blocked; the sender learns of it."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep_forever()

    dial = serve(script, lockstep=True)
    started = trio.current_time()
    async with connect_socket(URL, dial=dial, heartbeat=Heartbeat(interval=5, timeout=3), send_buffer=1) as task:
        with pytest.raises(SocketLostError, match="no pong within 3 seconds"):
            for _ in range(3):
                await task.send(b"x" * 1000)
    assert trio.current_time() - started == pytest.approx(8)
    assert task.close_event == CloseEvent(code=1006)


async def test_a_heartbeat_keeps_a_good_connection(serve: Serve, autojump_clock: MockClock) -> None:
    """A ping an interval, for an hour."""
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await echo(peer)

    async with connect_socket(URL, dial=serve(script), heartbeat=Heartbeat(interval=20, timeout=10)) as task:
        await trio.sleep(3610)
        assert task.statistics().rtt is not None
    assert len(peers[0].pings) == 180


async def test_the_pong_of_a_heartbeat_is_read_at_once(serve: Serve, autojump_clock: MockClock) -> None:
    """Though the program, which was here until now, is expected to come back and read it."""
    async with connect_socket(URL, dial=serve(echo), heartbeat=Heartbeat(interval=1, timeout=1)) as task:
        while task.statistics().rtt is None:
            await task.wait_open()
            await task.send("x")
            await task.receive()
            await trio.sleep(0.003)
        assert task.statistics().rtt == 0


async def test_a_heartbeat_waits_while_the_buffer_is_full(serve: Serve, autojump_clock: MockClock) -> None:
    """A pong could not be seen; the time starts anew when reading goes on."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(*[frame(BINARY, b"x" * 1000)] * 20)
        await trio.sleep(100)
        await peer.send(frame(BINARY, b"end"))
        await peer.echo()

    beat = Heartbeat(interval=5, timeout=3)
    async with connect_socket(URL, dial=serve(script), heartbeat=beat, receive_buffer=2000) as task:
        await trio.sleep(60)
        assert task.ready_state is ReadyState.OPEN
        with pytest.raises(SocketLostError, match="no pong within 3 seconds"):
            async for _ in task:
                pass


async def test_a_ping_is_answered_while_the_program_is_away(serve: Serve, autojump_clock: MockClock) -> None:
    """In a few milliseconds, for which it is expected back to read for itself."""
    waited = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        for _ in range(2):
            await peer.send(frame(TEXT, b"x"))
            await trio.sleep(0.001)
        started = trio.current_time()
        await peer.send(frame(PING))
        await peer.read_frame()
        waited.append(trio.current_time() - started)
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        await task.receive()
        await task.receive()
        await trio.sleep(10)
    assert 0 < waited[0] < 0.01


@pytest.mark.parametrize("options", [{"receive_timeout": 5}, {"heartbeat": Heartbeat(interval=4, timeout=5)}])
async def test_what_came_while_the_loop_was_blocked_is_looked_at_before_a_deadline_counts(
    serve: Serve, autojump_clock: MockClock, options: ConnectOptions
) -> None:
    """Whichever of the tasks that wake up then runs first."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep(4.5)
        if "heartbeat" in options:
            await peer.send(frame(PONG, (await peer.read_frame())[1]))
        else:
            await peer.send(frame(TEXT, b"y"))
        autojump_clock.jump(10)
        await peer.finish()

    options["dial"] = serve(script)
    for _ in range(20):
        async with connect_socket(URL, **options) as task:
            await trio.sleep(15)
            assert task.ready_state is ReadyState.OPEN


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_what_the_peer_says_unasked_gives_it_more_time(
    serve: Serve, autojump_clock: MockClock, opcode: int
) -> None:
    """A ping does, or a pong that answers nothing, as a message does; the answers to a heartbeat do not."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak, peer)
            with suppress(EOFError):
                await peer.echo()

    async def speak(peer: Peer) -> None:
        await trio.sleep(6)
        await peer.send(frame(opcode))

    heartbeat = Heartbeat(interval=4, timeout=4)
    async with connect_socket(URL, dial=serve(script), heartbeat=heartbeat, receive_timeout=10) as task:
        with pytest.raises(SocketLostError, match="no message within 10 seconds"):
            await task.receive()
        assert trio.current_time() == pytest.approx(16, abs=0.2)


async def test_a_heartbeat_does_not_disturb_a_close(serve: Serve, autojump_clock: MockClock) -> None:
    """The close has a deadline of its own, and ends as it was asked to."""
    dial = serve(then(finish=False))
    async with connect_socket(URL, dial=dial, heartbeat=Heartbeat(interval=1, timeout=1), close_timeout=30) as task:
        await trio.sleep(1.5)
        task.close(4000)
    assert await events(task) == ([], [CloseEvent(code=4000)])


async def test_a_close_before_open_calls_the_opening_off(serve: Serve, autojump_clock: MockClock) -> None:
    """No open event, no error event, one close event with what was asked for (contract 2.6)."""
    async with open_socket_manager() as manager:
        task = manager.connect_socket(URL, dial=serve(silent))
        await wait_all_tasks_blocked()
        started = trio.current_time()
        task.close(4000, "no")
        assert task.ready_state is ReadyState.CLOSING
        assert await task.wait_closed() == CloseEvent(code=4000, reason="no")
        with pytest.raises(SocketClosedError):
            await task.wait_open()
    assert trio.current_time() == started
    assert [event async for event in task.on_open()] == []
    assert await events(task) == ([], [CloseEvent(code=4000, reason="no")])


async def test_a_close_that_the_opening_notices_too_late(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handshake was through when the close came: the connection is dropped, and never was open."""
    ended: list[bool] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        ended.append(await peer.read_end())

    async def open_late(options: Options, progress: Progress) -> Connected:
        connection = await connect(options, progress)
        task.close(4000)
        return connection

    monkeypatch.setattr(_opening, "connect", open_late)
    async with open_socket_manager() as manager:
        task = manager.connect_socket(URL, dial=serve(script))
        assert (await task.wait_closed()).code == 4000
        assert [event async for event in task.on_open()] == []
    await wait_all_tasks_blocked()
    assert ended == [True]


async def test_a_close_in_the_very_moment_of_opening(serve: Serve) -> None:
    """The handshake may be through already when the close is noticed; the socket never opens all the same."""

    async def script(peer: Peer) -> None:
        with suppress(AssertionError, EOFError, trio.BrokenResourceError):
            await peer.accept()
            await peer.finish()

    async with open_socket_manager() as manager:
        for checkpoints in range(40):
            task = manager.connect_socket(URL, dial=serve(script))
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            if task.ready_state is ReadyState.OPEN:
                break
            task.close(4000)
            assert (await task.wait_closed()).code == 4000
            assert [event async for event in task.on_open()] == []
        assert checkpoints > 3
        task.close()


async def test_a_cancelled_body_ends_before_a_socket_that_opens(autojump_clock: MockClock) -> None:
    """Which then is called off."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    with trio.move_on_after(1):
        async with open_socket_manager(dial=dial) as manager:
            task = manager.connect_socket(URL)
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                assert task.ready_state is ReadyState.CONNECTING
    assert task.ready_state is ReadyState.CLOSED
    assert trio.current_time() == pytest.approx(2)


async def test_aclose_that_is_cancelled_drops_the_connection(serve: Serve, autojump_clock: MockClock) -> None:
    """As every aclose in Trio."""
    async with connect_socket(URL, dial=serve(then(finish=False))) as task:
        started = trio.current_time()
        with trio.move_on_after(1) as scope:
            await task.aclose(4000)
        assert scope.cancelled_caught
        assert task.ready_state is ReadyState.CLOSED
        assert trio.current_time() - started == pytest.approx(1)


async def test_c5_leaving_while_a_sender_is_blocked(serve: Serve, autojump_clock: MockClock) -> None:
    """The sender gets SocketClosedError at once, and the block is left by the deadline."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep_forever()

    async def send() -> None:
        with pytest.raises(SocketClosedError):
            for _ in range(3):
                await task.send("x" * 100)

    async with trio.open_nursery() as nursery:
        started = trio.current_time()
        dial = serve(script, lockstep=True)
        async with connect_socket(URL, dial=dial, send_buffer=10, close_timeout=2) as task:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
    assert trio.current_time() - started == pytest.approx(2)


async def test_a_write_error_lets_the_peers_last_words_be_read(serve_tcp: ServeTcp) -> None:
    """Its Close frame is often still there when its end of the connection is gone."""
    gone = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        await peer.send(frame(TEXT, b"last words"), close_frame(1001, "restart"))
        await peer.stream.aclose()
        gone.set()

    async with connect_socket(await serve_tcp(script)) as task:
        await task.send("go")
        await gone.wait()
        with pytest.raises(SocketLostError):
            while True:
                await task.send(b"x" * 10_000)
                await trio.lowlevel.checkpoint()
        assert [data async for data in task] == ["last words"]
        assert (await task.wait_closed()).code == 1001


class OneWay(trio.abc.Stream):
    """A stream whose writes can be broken, whatever its reads do."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner
        self.broken = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.broken:
            raise OSError("not a Trio error")
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.inner.aclose()
        raise OSError("nor is this")


class Slow(OneWay):
    """A stream that takes its time to close."""

    async def aclose(self) -> None:
        await self.inner.aclose()
        await trio.sleep(100)


async def test_a_write_error_ends_the_connection_by_the_deadline(serve: Serve, autojump_clock: MockClock) -> None:
    """Though the peer goes on as if nothing were; and a close that raises is no news."""
    dial = serve(then(finish=False))
    streams: list[OneWay] = []

    async def dial_one_way(host: str, port: int) -> trio.abc.Stream:
        streams.append(OneWay(await dial(host, port)))
        return streams[0]

    async with connect_socket(URL, dial=dial_one_way, close_timeout=4) as task:
        started = trio.current_time()
        streams[0].broken = True
        await task.send("x")
        await wait_all_tasks_blocked()
        with pytest.raises(SocketLostError, match="not a Trio error"):
            await task.send("y")
        assert (await task.wait_closed()).code == 1006
        assert trio.current_time() - started == pytest.approx(4)
    assert (await events(task))[0] == ["the connection was lost: not a Trio error"]


async def test_a_close_frame_that_waits_goes_out_after_the_peers_end(serve: Serve, autojump_clock: MockClock) -> None:
    """A peer may end its side first and read ours later."""
    seen: list[object] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        assert isinstance(peer.stream, trio.StapledStream)
        await peer.send(close_frame(1000))
        await peer.stream.send_stream.aclose()
        await trio.sleep(1)
        seen.append(await peer.read_close())

    async with connect_socket(URL, dial=serve(script, lockstep=True)) as task:
        assert [data async for data in task] == []
    assert seen == [(1000, "")]
    assert task.close_event == CloseEvent(code=1000, peer_code=1000)


async def test_a_send_in_any_moment_of_the_end(serve: Serve) -> None:
    """It succeeds or finds the socket lost, and nothing else."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.aclose()

    lost = 0
    for checkpoints in range(20):
        async with connect_socket(URL, dial=serve(script)) as task:
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            try:
                task.send_nowait("x")
            except SocketLostError:
                lost += 1
            await task.wait_closed()
    assert lost > 3


async def test_statistics(serve: Serve) -> None:
    """Messages and bytes both ways, and the timings of the opening."""
    async with connect_socket(URL, dial=serve(echo)) as task:
        await task.send("汉")
        await task.send(b"12345")
        assert await task.receive() == "汉"
        assert task.statistics().rtt is None
        rtt = await task.ping()
        now = task.statistics()
        assert (now.messages_sent, now.bytes_sent, now.messages_received, now.bytes_received) == (2, 8, 2, 8)
        assert (now.send_buffered, now.receive_buffered, now.rtt, now.tls_seconds) == (0, 133, rtt, None)
        assert now.dial_seconds is not None
        assert now.handshake_seconds is not None


async def test_a_heartbeat_behind_a_long_upload_that_goes_on(serve: Serve, autojump_clock: MockClock) -> None:
    """While bytes leave, a ping that waits behind them is not missed; when they stop, it is (hazard R4)."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        for _ in range(40):  # slowly, for 40 seconds
            await trio.sleep(1)
            await peer.stream.receive_some(65536)
        await trio.sleep_forever()

    beat = Heartbeat(interval=1, timeout=5)
    async with connect_socket(URL, dial=serve(script, lockstep=True), heartbeat=beat) as task:
        await task.send(bytes(10_000_000))
        await trio.sleep(35)
        assert task.ready_state is ReadyState.OPEN
        with pytest.raises(SocketLostError, match="no pong within 5 seconds"):
            await task.receive()
    assert 40 < trio.current_time() < 50


async def test_messages_beyond_room_go_out_while_it_is_open_only(serve: Serve, autojump_clock: MockClock) -> None:
    """Nothing follows upon the Close frame."""
    seen: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        with suppress(EOFError):
            while True:
                seen.append((await peer.read_frame())[0])
                if seen[-1] == CLOSE:
                    await peer.send(close_frame(1000))

    async with open_socket_manager() as manager:
        task = manager.connect_socket(URL, dial=serve(script))
        send = partial(session_of(task).put, payload=b"", beyond_room=True)
        with pytest.raises(SocketNotOpenError):
            send("too early")
        await task.wait_open()
        assert send("in time")
        task.close()
        with pytest.raises(SocketClosedError):
            send("too late")
        await task.wait_closed()
    await wait_all_tasks_blocked()
    assert seen == [TEXT, CLOSE]


async def test_a_ping_goes_before_the_messages_that_wait(serve: Serve, autojump_clock: MockClock) -> None:
    """So it takes a round trip, and not as long as they do."""
    go_on = trio.Event()
    seen: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await go_on.wait()
        while CLOSE not in seen:
            opcode, payload = await peer.read_frame()
            seen.append(opcode)
            if opcode != BINARY:
                await peer.send(frame(PONG if opcode == PING else opcode, payload))

    async with connect_socket(URL, dial=serve(script, lockstep=True)) as task:
        for _ in range(3):
            await task.send(bytes(100_000))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task.ping)
            await wait_all_tasks_blocked()
            go_on.set()
    assert seen == [BINARY, PING, BINARY, BINARY, CLOSE]


async def test_a_heartbeat_behind_an_upload_may_be_answered_in_its_time(
    serve: Serve, autojump_clock: MockClock
) -> None:
    """Which begins when the upload is over, and the ping has left."""
    size = 2**20

    async def script(peer: Peer) -> None:
        await peer.accept()
        while len(peer.leftover) < size:
            await trio.sleep(1)
            peer.leftover += await peer.stream.receive_some(2**16)
        assert await peer.read_frame() == (BINARY, bytes(size))
        opcode, payload = await peer.read_frame()
        assert opcode == PING
        await trio.sleep(4)
        await peer.send(frame(PONG, payload))
        await peer.echo()

    beat = Heartbeat(interval=1, timeout=5)
    async with connect_socket(URL, dial=serve(script, lockstep=True), heartbeat=beat) as task:
        await task.send(bytes(size))
        await trio.sleep(60)
        assert task.ready_state is ReadyState.OPEN
        assert task.statistics().rtt is not None


async def test_a_violation_is_raised_to_the_program_that_reads(serve: Serve, autojump_clock: MockClock) -> None:
    """At once, though the peer does not end the connection."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep(1)
        await peer.send(frame(3))
        await trio.sleep_forever()

    async with connect_socket(URL, dial=serve(script)) as task:
        with pytest.raises(SocketLostError, match="unknown opcode"):
            await task.receive()
        assert trio.current_time() == pytest.approx(1, abs=0.01)
        with pytest.raises(SocketLostError, match="unknown opcode"):
            await task.receive()


@pytest.mark.parametrize("checkpoints", range(16))
async def test_a_stream_that_does_not_close_well_is_no_news(serve: Serve, checkpoints: int) -> None:
    """Whenever the opening is called off."""

    async def script(peer: Peer) -> None:
        with suppress(AssertionError, trio.BrokenResourceError):
            await peer.accept()
            await peer.read_end()

    dial = serve(script)

    async def dial_one_way(host: str, port: int) -> trio.abc.Stream:
        return OneWay(await dial(host, port))

    async with open_socket_manager() as manager:
        task = manager.connect_socket(URL, dial=dial_one_way, close_timeout=0.01)
        for _ in range(checkpoints):
            await trio.lowlevel.checkpoint()
        task.close(4000)
        assert (await task.wait_closed()).code == 4000


async def test_what_finds_no_room_after_a_write_error_is_dropped(serve: Serve, autojump_clock: MockClock) -> None:
    """Reading goes on to find the reason, and memory stays bounded."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        with suppress(trio.BrokenResourceError):
            while True:
                await peer.send(frame(BINARY, bytes(1000)))
                await trio.sleep(0.01)

    dial = serve(script)
    streams: list[OneWay] = []

    async def dial_one_way(host: str, port: int) -> trio.abc.Stream:
        streams.append(OneWay(await dial(host, port)))
        return streams[0]

    async with connect_socket(URL, dial=dial_one_way, close_timeout=4, receive_buffer=5000) as task:
        streams[0].broken = True
        await task.send("x")
        await task.wait_closed()
        assert task.statistics().receive_buffered < 10_000


async def test_a_violation_while_reading_is_paused(serve: Serve, autojump_clock: MockClock) -> None:
    """The end of the connection is seen all the same."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(BINARY, bytes(1000)) * 40 + frame(3))
        assert (await peer.read_close())[0] == 1002
        await peer.stream.aclose()

    async with connect_socket(URL, dial=serve(script), receive_buffer=20_000, close_timeout=4) as task:
        await task.wait_closed()
        assert trio.current_time() < 1


async def test_a_violation_after_a_close_of_this_side(serve: Serve, autojump_clock: MockClock) -> None:
    """Is told at once: no program can answer any more, so nobody is waited for."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        assert (await peer.read_close())[0] == 4000
        await peer.send(frame(3))
        await trio.sleep(100)

    async with connect_socket(URL, dial=serve(script), close_timeout=2) as task:
        await task.wait_open()
        async with task.on_error() as errors:
            task.close(4000)
            started = trio.current_time()
            assert "opcode" in (await errors.receive()).err_msg
            assert trio.current_time() == started
        assert (await task.wait_closed()).peer_code is None


async def test_a_close_that_is_cancelled_does_not_wait_for_the_stream(serve: Serve, autojump_clock: MockClock) -> None:
    """Though the stream takes its time to close."""
    dial = serve(echo)

    async def dial_slow(host: str, port: int) -> trio.abc.Stream:
        return Slow(await dial(host, port))

    with trio.move_on_after(1) as scope:
        async with connect_socket(URL, dial=dial_slow, close_timeout=8):
            pass
    assert scope.cancelled_caught
    assert trio.current_time() < 2


async def test_a_stream_that_takes_its_time_to_close_is_waited_for_within_the_timeout(
    serve: Serve, autojump_clock: MockClock
) -> None:
    """Though the peer has ended the connection without a Close frame, so that no handshake has set a deadline."""
    dial = serve(accept_and_leave)

    async def dial_slow(host: str, port: int) -> trio.abc.Stream:
        return Slow(await dial(host, port))

    async with connect_socket(URL, dial=dial_slow, close_timeout=8) as task:
        await task.wait_closed()
        assert trio.current_time() == pytest.approx(8, abs=0.1)


async def test_a_bug_that_ends_the_opening_ends_the_socket(serve: Serve) -> None:
    """CLOSED, with its close event, and its slot free; the exception is reported as Trio does."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise SystemExit(3)

    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_socket_manager() as manager:
            task = manager.connect_socket(URL, dial=dial)
            await trio.sleep_forever()
    assert caught.group_contains(SystemExit)
    assert task.ready_state is ReadyState.CLOSED
    assert task.close_event == CloseEvent(code=1006)
    with pytest.raises(SocketLostError):
        await task.send("x")


async def test_a_listener_that_holds_up_reading_is_told_of_once(
    autojump_clock: MockClock, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """So that whoever waits for what does not come can know why."""
    messages = [frame(BINARY, bytes(1000))] * 10
    async with connect_socket(URL, dial=serve(then(*messages)), receive_buffer=2000) as task:
        listener = task.on_message()
        await trio.sleep(1)
        await listener.receive()
        await listener.receive()
        await trio.sleep(1)
    assert caplog.text.count("a message listener is") == 1


async def test_a_pong_to_a_cancelled_ping_is_nobody_s(autojump_clock: MockClock, serve: Serve) -> None:
    """It is no round trip that anybody asked for."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        _, payload = await peer.read_frame()
        await trio.sleep(5)
        await peer.send(frame(PONG, payload))
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        with trio.move_on_after(1):
            await task.ping()
        await trio.sleep(10)
        assert task.statistics().rtt is None


async def test_what_is_not_written_yet_is_among_the_figures(autojump_clock: MockClock, serve: Serve) -> None:
    """None before there is a connection."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep(1)
        await peer.finish()

    async with open_socket_manager(dial=serve(script, lockstep=True)) as manager:
        task = manager.connect_socket(URL)
        assert task.statistics().send_buffered == 0
        await task.wait_open()
        await task.send(bytes(1000))
        assert task.statistics().send_buffered >= 1000
        await task.aclose()
        assert task.statistics().send_buffered == 0


async def test_a_send_that_waits_for_room_is_told_of_the_close(autojump_clock: MockClock, serve: Serve) -> None:
    """Its message is not written after the Close frame, nor forgotten in silence."""
    seen: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep(1)
        with suppress(EOFError):
            while True:
                seen.append((await peer.read_frame())[0])

    async with open_socket_manager(dial=serve(script, lockstep=True), send_buffer=1000, close_timeout=5) as manager:
        task = manager.connect_socket(URL)
        await task.wait_open()
        sent: list[int] = []
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(SocketClosedError):
                    while True:
                        await task.send(bytes(1000))
                        sent.append(1000)

            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            before = len(sent)
            task.close()
        await task.wait_closed()
        assert len(sent) == before
        assert seen == [BINARY] * before + [CLOSE]


async def test_no_timer_of_a_socket_is_left_behind(autojump_clock: MockClock, serve: Serve) -> None:
    """Nor what it refers to."""
    heartbeat = Heartbeat(interval=1000)
    async with connect_socket(URL, dial=serve(echo), heartbeat=heartbeat, receive_timeout=1000) as task:
        await task.wait_open()
        assert len(clock_of_this_run()) == 2
    assert len(clock_of_this_run()) == 0


async def test_a_question_before_a_violation_may_be_answered_after_a_while(
    autojump_clock: MockClock, serve: Serve
) -> None:
    """By a program that has received it, and is not back yet."""
    answers: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"question") + frame(0x3))
        answers.append((await peer.read_frame())[1])
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        assert await task.receive() == "question"
        await trio.sleep(0.01)
        await task.send("answer")
        with pytest.raises(SocketLostError):
            await task.receive()
    assert answers == [b"answer"]


async def test_who_waits_for_more_has_nothing_to_answer_after_a_violation(
    autojump_clock: MockClock, serve: Serve
) -> None:
    """So that it is told at once."""
    async with connect_socket(URL, dial=serve(then(frame(TEXT, b"news"), frame(0x3)))) as task:
        assert await task.receive() == "news"
        start = trio.current_time()
        with pytest.raises(SocketLostError):
            await task.receive()
        assert trio.current_time() == start


async def test_an_abort_that_waits_for_the_writer_is_protected_from_ctrl_c(
    autojump_clock: MockClock, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all tasks of a socket are."""
    protected: list[bool] = []
    wait_drained = Writer.wait_drained

    async def spy(writer: Writer) -> None:
        protected.append(trio.lowlevel.currently_ki_protected())
        await wait_drained(writer)

    monkeypatch.setattr(Writer, "wait_drained", spy)
    with trio.move_on_after(1):
        async with connect_socket(URL, dial=serve(silent_after_opening, lockstep=True)) as task:
            await task.send(bytes(1000))
            await trio.sleep_forever()
    assert protected
    assert all(protected)


async def silent_after_opening(peer: Peer) -> None:
    """Read nothing."""
    await peer.accept()
    await trio.sleep_forever()


@pytest.mark.needs("epoll")
async def test_a_socket_that_has_closed_is_watched_no_more(socket_server: SocketServer) -> None:
    """Though its program was away when it closed; after the last one nothing is left that watches."""
    async with connect_socket(socket_server.url) as task:
        await task.send("hello")
        assert await task.receive() == "hello"
        await task.ping()
        poller = poller_of_this_run()
        assert poller is not None
        assert poller.functions
    assert not poller.functions
    assert poller.is_over


@pytest.mark.parametrize(
    ("script", "end"),
    [
        (echo, "closed with 1000; the peer with 1000"),
        (then(close_frame(4001, "gone")), "closed with 4001 gone; the peer with 4001 gone"),
        (
            accept_and_leave,
            "closed with 1006; the connection was lost: the peer ended the connection without a Close frame",
        ),
    ],
)
async def test_the_log_tells_how_it_ended(
    serve: Serve, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, script: object, end: str
) -> None:
    """With the codes of both sides, and with what went wrong."""
    caplog.set_level("DEBUG")
    async with connect_socket(URL, dial=serve(script)) as task:
        await task.wait_open()
        await wait_all_tasks_blocked()
    assert caplog.records[-1].getMessage().partition(" ms: ")[2] == end
