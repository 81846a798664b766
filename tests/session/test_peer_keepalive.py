"""`_peer_keepalive`: messages of the peer's own keepalive are answered, whatever the program does."""

from __future__ import annotations

import json
import logging

import pytest
import trio
from conftest import Reach, Serve
from peer import BINARY, CLOSE, TEXT, URL, Peer, frame
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_socket_task import Heartbeat, SocketLostError, connect_socket, open_resilient_socket
from trio_socket_task.testing import Script, open_memory_server


def engine_io(data: str | bytes) -> str | None:
    """Answer as Engine.IO wants it."""
    return "3" if data == "2" else None


def exchange(data: str | bytes) -> str | None:
    """Answer as exchanges want it: with the number that was sent."""
    message = json.loads(data)
    return json.dumps({"pong": message["ping"]}) if "ping" in message else None


@pytest.mark.parametrize("kind", ["memory", "tcp", "tls"])
async def test_a_ping_of_the_peers_is_answered_while_the_program_does_something_else(reach: Reach, kind: str) -> None:
    """It neither reads nor sends, and does not receive it either."""
    answers: list[tuple[int, bytes]] = []
    answered = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(TEXT, b"before"), frame(TEXT, b"2"), frame(TEXT, b"2"), frame(TEXT, b"after"))
        answers.extend([await peer.read_frame(), await peer.read_frame()])
        answered.set()
        await peer.finish()

    url, options = await reach(kind, script)
    options["heartbeat"] = Heartbeat(answer=engine_io)
    async with connect_socket(url, **options) as task:
        with trio.fail_after(10):
            await answered.wait()
        assert answers == [(TEXT, b"3")] * 2
        assert (task.receive_nowait(), task.receive_nowait()) == ("before", "after")
        assert task.statistics().messages_received == 2
        assert task.statistics().messages_sent == 0


async def test_the_answer_goes_before_messages_that_wait(serve: Serve, autojump_clock: MockClock) -> None:
    """A peer that is slow to read is told in time that this side lives."""
    go_on = trio.Event()
    frames: list[tuple[int, bytes]] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await go_on.wait()
        await peer.send(frame(TEXT, b'{"ping": 7}'))
        await wait_all_tasks_blocked()
        while True:
            frames.append(await peer.read_frame())
            if frames[-1][0] == CLOSE:
                return

    async with connect_socket(URL, dial=serve(script, lockstep=True), heartbeat=Heartbeat(answer=exchange)) as task:
        for _ in range(3):
            await task.send(bytes(100_000))
        await wait_all_tasks_blocked()
        go_on.set()
        await wait_all_tasks_blocked()
    assert [opcode for opcode, _ in frames] == [BINARY, TEXT, BINARY, BINARY, CLOSE]
    assert frames[1] == (TEXT, b'{"pong": 7}')


async def test_a_flood_is_answered_by_the_latest(serve: Serve, autojump_clock: MockClock) -> None:
    """As a flood of Ping frames is."""
    frames: list[tuple[int, bytes]] = []

    async def script(peer: Peer) -> None:
        await peer.accept(then=b"".join(frame(TEXT, b'{"ping": %d}' % number) for number in range(1000)))
        while not frames or frames[-1][0] != CLOSE:
            frames.append(await peer.read_frame())

    async with connect_socket(URL, dial=serve(script), heartbeat=Heartbeat(answer=exchange)):
        await wait_all_tasks_blocked()
    assert frames[:-1] == [(TEXT, b'{"pong": %d}' % number) for number in range(968, 1000)]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda data: data["ping"], "TypeError"),
        (lambda _data: 3, "answer must be str or bytes, not int"),
        (lambda _data: "x" * 40000, "answer must return at most 32768 bytes, not a str of 40000 characters"),
        (lambda _data: "\ud800", "must not contain lone surrogates"),
    ],
)
async def test_a_function_that_fails_is_told_to_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture, answer: object, told: str
) -> None:
    """And the message is the program's."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"2"))
        await peer.finish()

    caplog.set_level(logging.ERROR)
    beat = Heartbeat(answer=answer)  # type: ignore[arg-type]
    async with connect_socket(URL, dial=serve(script), heartbeat=beat) as task:
        assert await task.receive() == "2"
    assert "the heartbeat's answer function failed; the message is taken for the program's" in caplog.text
    assert told in caplog.text


async def test_a_ping_of_the_peers_is_a_sign_that_it_speaks(serve: Serve, autojump_clock: MockClock) -> None:
    """So `receive_timeout` is content with it, as it is with Ping frames, and not with silence after it."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        for _ in range(10):
            await peer.send(frame(TEXT, b"2"))
            await trio.sleep(8)
        await peer.read_end()

    beat = Heartbeat(interval=1000, answer=engine_io)
    with pytest.raises(SocketLostError, match="no message within 10 seconds"):
        async with connect_socket(URL, dial=serve(script), heartbeat=beat, receive_timeout=10) as task:
            await task.receive()
    assert trio.current_time() == pytest.approx(9 * 8 + 10, abs=1)


async def test_a_resilient_socket_answers_while_it_logs_in() -> None:
    """The peer's patience does not wait for `on_connected`."""
    script = Script().send("2").expect("3").send("welcome").expect("hello").close()
    async with open_memory_server(script) as server:

        async def log_in(task: object) -> None:
            assert await task.receive() == "welcome"  # type: ignore[attr-defined]

        beat = Heartbeat(answer=engine_io)
        async with open_resilient_socket(server.url, dial=server.dial, heartbeat=beat, on_connected=log_in) as socket:
            await socket.send("hello")
            with pytest.raises(trio.EndOfChannel):
                await socket.receive()


async def test_nothing_is_answered_once_this_side_has_closed(serve: Serve, autojump_clock: MockClock) -> None:
    """The Close frame was the last."""
    frames: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        frames.append((await peer.read_frame())[0])
        await peer.send(frame(TEXT, b"2"), frame(CLOSE))
        assert await peer.stream.receive_some() == b""

    async with connect_socket(URL, dial=serve(script), heartbeat=Heartbeat(answer=engine_io)):
        pass
    assert frames == [CLOSE]
