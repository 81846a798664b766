"""Hazards V1, V2, Q5 and Q9: bursts of control frames, events nobody reads, blocks and threads used wrongly.

Ids such as V1 are rows of the tables in `docs/explanation/reliability.md`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, suppress

import pytest
import trio
from conftest import Serve, ServeTcp
from peer import PING, PONG, TEXT, URL, Peer, frame
from trio.testing import wait_all_tasks_blocked

from trio_socket_task import (
    Coexist,
    ReadyState,
    SocketManager,
    SocketTask,
    connect_socket,
    open_resilient_socket,
    open_socket_manager,
)
from trio_socket_task.miniprogram import open_mini_program

# A burst of control frames


class CountedWrites:
    """`os`, but for a count of writes."""

    def __init__(self) -> None:
        self.writes = 0

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def write(self, descriptor: int, data: bytes) -> int:
        """Write, and count."""
        self.writes += 1
        return os.write(descriptor, data)


@pytest.mark.parametrize("burst", [frame(PING) * 32_000, frame(PING, b"p" * 125) * 500, frame(PONG) * 32_000])
async def test_v1_a_burst_is_answered_in_few_writes(
    serve_tcp: ServeTcp, monkeypatch: pytest.MonkeyPatch, burst: bytes
) -> None:
    """Of the pings of one read the latest are answered, together (RFC 6455 section 5.5.3)."""
    counted, answers, go = CountedWrites(), [], trio.Event()
    monkeypatch.setattr("trio_socket_task._stream._wire.os", counted)

    async def script(peer: Peer) -> None:
        await peer.accept()
        await go.wait()
        await peer.send(burst, frame(PING, b"last"), frame(TEXT, b"after"))
        while True:
            opcode, payload = await peer.read_frame()
            if opcode == PONG:
                answers.append(payload)
            if payload == b"last":
                break
        await peer.finish()

    async with connect_socket(await serve_tcp(script)) as task:
        counted.writes = 0
        go.set()
        assert await task.receive() == "after"
        assert counted.writes <= 10
    assert answers[-1] == b"last"
    assert len(answers) <= 10 * 32


async def test_v1_the_answers_are_to_the_latest_in_order(serve: Serve) -> None:
    """A few pings are all answered; of many, the last 32."""
    answers: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept(then=b"".join(frame(PING, b"%d" % number) for number in range(5)))
        answers.extend([(await peer.read_frame())[1] for _ in range(5)])
        await peer.send(b"".join(frame(PING, b"%d" % number) for number in range(100)))
        answers.extend([(await peer.read_frame())[1] for _ in range(32)])
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        await wait_all_tasks_blocked()
        task.close()
    assert answers == [b"%d" % number for number in (*range(5), *range(68, 100))]


@pytest.mark.long
async def test_v1_others_run_between_bursts(serve_tcp: ServeTcp) -> None:
    """A flood of pings holds nobody up: each read gives way to the other tasks."""

    async def script(peer: Peer) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await peer.accept()
            while True:
                await peer.send(frame(PING) * 32_000)

    turns = 0
    with trio.fail_after(60):
        async with connect_socket(await serve_tcp(script), close_timeout=0.1):
            for _ in range(50):
                await trio.lowlevel.checkpoint()
                turns += 1
    assert turns == 50


# What is kept for nobody is bounded in bytes


@pytest.mark.long
@pytest.mark.needs("cpython")
async def test_v2_events_that_nobody_reads_are_bounded_in_bytes(serve: Serve) -> None:
    """Refusals with large bodies and headers, of socket after socket, cost what the page says."""
    import tracemalloc  # noqa: PLC0415 (PyPy has none)

    async def script(peer: Peer) -> None:
        await peer.read_request()
        head = b"HTTP/1.1 503 Busy\r\nX: " + b"h" * 20_000 + b"\r\nContent-Length: 30000\r\n\r\n"
        await peer.send(head + b"b" * 30_000)
        await peer.stream.aclose()

    async with open_socket_manager(dial=serve(script)) as manager:
        errors, closes = manager.on_socket_error(), manager.on_socket_close()
        for _ in range(20):
            await manager.connect_socket(URL).wait_closed()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(100):
                await manager.connect_socket(URL).wait_closed()
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] - before < 300_000
        finally:
            tracemalloc.stop()
        latest = await errors.receive()
        assert "503 Busy" in latest.err_msg
        assert (await closes.receive()).code == 1006


async def test_v2_one_event_is_kept_however_large_it_is(serve: Serve) -> None:
    """A listener of openings has the latest, although its header alone is more than the limit of few."""

    async def script(peer: Peer) -> None:
        await peer.accept(*(f"X-{number}: 1" for number in range(2000)))
        await peer.finish()

    async with open_socket_manager(Coexist(20), dial=serve(script)) as manager:
        opened = manager.on_socket_open()
        for _ in range(10):
            task = manager.connect_socket(URL)
            await task.wait_open()
            await task.aclose()
        await wait_all_tasks_blocked()
        assert repr(opened) == "<Listener open, 1 waiting>"
        assert len((await opened.receive()).header) == 2003


# A block entered in one task and left in another


async def ping_pong(peer: Peer) -> None:
    """Accept, say a little, and answer the close."""
    with suppress(EOFError, trio.BrokenResourceError):
        await peer.accept(then=frame(TEXT, b"1") + frame(TEXT, b"2"))
        await peer.finish()


@pytest.mark.parametrize("kind", ["socket", "manager", "resilient", "mini program"])
async def test_q5_a_block_left_in_another_task(serve: Serve, kind: str) -> None:
    """It raises at once, and names the mistake and the cure; its sockets are gone (PEP 789)."""
    dial = serve(ping_pong)
    blocks: dict[str, Callable[[], AbstractAsyncContextManager[object]]] = {
        "socket": lambda: connect_socket(URL, dial=dial),
        "manager": lambda: open_socket_manager(dial=dial),
        "resilient": lambda: open_resilient_socket(URL, dial=dial),
        "mini program": lambda: open_mini_program(dial=dial),
    }
    told: list[RuntimeError] = []
    tasks: list[SocketTask] = []

    async def enter_and_hand_over() -> None:
        block = blocks[kind]()
        entered = await block.__aenter__()
        if isinstance(entered, SocketTask):
            tasks.append(entered)
        if isinstance(entered, SocketManager):
            tasks.append(entered.connect_socket(URL))
            await tasks[0].wait_open()

        async def leave() -> None:
            with pytest.raises(RuntimeError, match=r"entered in one task and left in another.*aclosing") as caught:
                await block.__aexit__(None, None, None)
            told.append(caught.value)

        async with trio.open_nursery() as inner:
            inner.start_soon(leave)
        await wait_all_tasks_blocked()
        assert [task.ready_state for task in tasks] == [ReadyState.CLOSED] * len(tasks)
        # Trio itself objects when this task ends with a nursery that was never closed.

    with trio.fail_after(30), suppress(BaseExceptionGroup):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter_and_hand_over)
    assert len(told) == 1


async def test_q5_the_cure(serve: Serve) -> None:
    """`aclosing` lets the task that iterates leave the block."""

    async def messages() -> AsyncGenerator[str | bytes, None]:
        async with connect_socket(URL, dial=serve(ping_pong)) as task:
            async for data in task:
                yield data

    async with aclosing(messages()) as items:
        async for data in items:
            assert data == "1"
            break


# Another thread


@pytest.mark.parametrize("call", ["send_nowait", "reconnect", "close"])
async def test_q9_a_resilient_socket_in_another_thread(serve: Serve, call: str) -> None:
    """As a socket of one connection."""

    async def script(peer: Peer) -> None:
        with suppress(EOFError, trio.BrokenResourceError, AssertionError):  # the last one may be left while it opens
            await peer.accept()
            await peer.echo()

    async with open_resilient_socket(URL, dial=serve(script)) as socket:
        await socket.wait_connected()
        calls: dict[str, Callable[[], object]] = {
            "send_nowait": lambda: socket.send_nowait("hello"),
            "reconnect": socket.reconnect,
            "close": socket.close,
        }
        with pytest.raises(RuntimeError, match="another thread"):
            await trio.to_thread.run_sync(calls[call])
        await socket.send("hello")
        assert await socket.receive() == "hello"
        await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(calls[call]))


@pytest.mark.parametrize("block", [connect_socket, open_resilient_socket])
async def test_q9_a_manager_of_another_threads_run(block: Callable[..., AbstractAsyncContextManager[object]]) -> None:
    """Is refused as the block is entered, not attempt by attempt."""
    async with open_socket_manager() as manager:

        async def enter() -> None:
            async with block(URL, manager=manager):
                raise AssertionError

        with pytest.raises(RuntimeError, match="another thread"):
            await trio.to_thread.run_sync(trio.run, enter)


async def test_q9_receive_nowait_in_another_thread_between_connections() -> None:
    """Where there is no connection that would tell."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async with open_resilient_socket(URL, dial=dial) as socket:
        with pytest.raises(RuntimeError, match="another thread"):
            await trio.to_thread.run_sync(socket.receive_nowait)
        with pytest.raises(trio.WouldBlock):
            await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(socket.receive_nowait))


@pytest.mark.parametrize(
    "call",
    ["send_nowait", "receive_nowait", "close", "listener", "manager", "on_message", "on_close", "on_socket_open"],
)
async def test_q9_another_thread(serve: Serve, call: str) -> None:
    """A clear error, and nothing was done; the way that Trio has for it works."""

    async def script(peer: Peer) -> None:
        with suppress(AssertionError, EOFError):  # the second one of the manager's is left early
            await peer.accept()
            await peer.echo()

    async with open_socket_manager(dial=serve(script)) as manager:
        task = manager.connect_socket(URL)
        await task.wait_open()
        listener = task.on_message()
        calls: dict[str, Callable[[], object]] = {
            "send_nowait": lambda: task.send_nowait("hello"),
            "receive_nowait": task.receive_nowait,
            "close": task.close,
            "listener": listener.close,
            "manager": lambda: manager.connect_socket(URL),
            "on_message": task.on_message,
            "on_close": task.on_close,
            "on_socket_open": manager.on_socket_open,
        }
        with pytest.raises(RuntimeError, match="another thread"):
            await trio.to_thread.run_sync(calls[call])
        assert task.ready_state is ReadyState.OPEN
        assert len(manager.sockets) == 1
        await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(task.send_nowait, "hello"))
        assert (await listener.receive()).data == "hello"
        with suppress(trio.WouldBlock):  # there is nothing more to receive
            await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(calls[call]))
