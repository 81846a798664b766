"""`_manager`: who may join, the global functions, and the block."""

from __future__ import annotations

import ssl

import pytest
import trio
from conftest import Serve, ServeTcp
from peer import TEXT, URL, Peer, close_frame, echo, frame, silent
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_socket_task import (
    CloseEvent,
    Coexist,
    Dial,
    InvalidOptionsError,
    MessageEvent,
    ReadyState,
    ReplacePrevious,
    SocketClosedError,
    SocketLimitError,
    SocketNotOpenError,
    connect_socket,
    open_socket_manager,
)
from trio_socket_task.testing import SocketServer


def counting(dial: Dial, dialled: list[str]) -> Dial:
    """Note each dial by its host."""

    async def count(host: str, port: int) -> trio.abc.Stream:
        dialled.append(host)
        return await dial(host, port)

    return count


async def test_five_sockets_coexist(memory_socket_server: SocketServer) -> None:
    """The sixth is refused at once and nothing is dialled; a closed one frees its place."""
    dialled: list[str] = []
    dial = counting(memory_socket_server.dial, dialled)
    async with open_socket_manager() as manager:
        assert manager.policy == Coexist(5)
        tasks = [manager.connect_socket(URL, dial=dial) for _ in range(5)]
        assert manager.sockets == tuple(tasks)
        with pytest.raises(SocketLimitError):
            manager.connect_socket(URL, dial=dial)
        for task in tasks:
            await task.wait_open()
        with pytest.raises(SocketLimitError):
            manager.connect_socket(URL, dial=dial)
        assert repr(manager) == "<SocketManager 5 of Coexist(limit=5)>"
        tasks[2].close()
        with pytest.raises(SocketLimitError):  # closing counts, too
            manager.connect_socket(URL, dial=dial)
        await tasks[2].wait_closed()
        await manager.connect_socket(URL, dial=dial).wait_open()
    assert len(dialled) == 6
    assert manager.sockets == ()


async def test_a_slot_is_free_before_the_close_event_is_delivered(memory_socket_server: SocketServer) -> None:
    """Reconnecting in a close listener works (contract 2.5)."""
    async with open_socket_manager(Coexist(1)) as manager:
        for _ in range(3):
            task = manager.connect_socket(URL, dial=memory_socket_server.dial)
            closes = task.on_close()
            await task.wait_open()
            task.close()
            await closes.receive()


async def test_checks_come_in_order(serve: Serve, memory_socket_server: SocketServer) -> None:
    """Url, then limit, then the rest (contract 3); a refused call replaces nothing."""
    async with open_socket_manager(Coexist(1)) as manager:
        manager.connect_socket(URL, dial=serve(silent))
        with pytest.raises(InvalidOptionsError, match="url"):
            manager.connect_socket("test.php", timeout=-1)
        with pytest.raises(SocketLimitError):
            manager.connect_socket(URL, timeout=-1)
        manager.sockets[0].close()
    async with open_socket_manager(ReplacePrevious()) as manager:
        task = manager.connect_socket(URL, dial=memory_socket_server.dial)
        await task.wait_open()
        with pytest.raises(InvalidOptionsError, match="timeout"):
            manager.connect_socket(URL, timeout=-1)
        assert task.ready_state is ReadyState.OPEN


async def test_replacement(serve: Serve) -> None:
    """The old one closes as any other; the new one is dialled when it is CLOSED: never two up (contract 2.7)."""
    up = most = 0

    async def script(peer: Peer) -> None:
        nonlocal up, most
        up += 1
        most = max(most, up)
        await peer.accept()
        assert await peer.finish() in [(1000, "replaced by a new connection"), (1000, "")]
        up -= 1

    dial = serve(script)
    async with open_socket_manager(ReplacePrevious()) as manager:
        old = manager.connect_socket(URL, dial=dial)
        await old.wait_open()
        new = manager.connect_socket(URL, dial=dial)
        assert (old.ready_state, new.ready_state) == (ReadyState.CLOSING, ReadyState.CONNECTING)
        await new.wait_open()
        reason = "replaced by a new connection"
        assert old.close_event == CloseEvent(code=1000, reason=reason, peer_code=1000, peer_reason=reason)
    assert most == 1


async def test_replacement_waits_for_an_old_one_that_does_not_close(
    serve: Serve, memory_socket_server: SocketServer, autojump_clock: MockClock
) -> None:
    """At most its close timeout, which is not counted as the new one's opening."""

    async def deaf(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep_forever()

    async with open_socket_manager(ReplacePrevious()) as manager:
        old = manager.connect_socket(URL, dial=serve(deaf), close_timeout=7)
        await old.wait_open()
        started = trio.current_time()
        await manager.connect_socket(URL, dial=memory_socket_server.dial, timeout=1).wait_open()
        assert trio.current_time() - started == pytest.approx(7)


async def test_three_quick_calls(memory_socket_server: SocketServer) -> None:
    """Only the last survives, and each replaced one has its one close event."""
    dialled: list[str] = []
    dial = counting(memory_socket_server.dial, dialled)
    async with open_socket_manager(ReplacePrevious()) as manager:
        tasks = [manager.connect_socket(URL, dial=dial) for _ in range(3)]
        await tasks[2].wait_open()
        assert [task.ready_state.name for task in tasks] == ["CLOSED", "CLOSED", "OPEN"]
        for task in tasks[:2]:
            assert [event async for event in task.on_open()] == []
            assert [event async for event in task.on_error()] == []
            assert [event.reason async for event in task.on_close()] == ["replaced by a new connection"]
    assert len(dialled) <= 2


async def test_global_send_and_close(memory_socket_server: SocketServer) -> None:
    """They act on the earliest socket that is not CLOSED, and on the next once that was closed (contract 2.4, 2.12)."""
    async with open_socket_manager() as manager:
        assert manager.current is None
        with pytest.raises(SocketNotOpenError, match="there is no socket"):
            manager.close_socket()
        with pytest.raises(SocketNotOpenError, match="there is no socket"):
            await manager.send_socket_message("x")
        one = manager.connect_socket(URL, dial=memory_socket_server.dial)
        two = manager.connect_socket(URL, dial=memory_socket_server.dial)
        with pytest.raises(SocketNotOpenError, match="is not open"):
            await manager.send_socket_message("x")
        await one.wait_open()
        await two.wait_open()
        await manager.send_socket_message("to one")
        assert await one.receive() == "to one"
        manager.close_socket(4000, "bye")
        assert one.ready_state is ReadyState.CLOSING
        assert manager.sockets == (one, two)
        await manager.send_socket_message("to two")
        assert await two.receive() == "to two"
        await one.wait_closed()
        assert one.close_event == CloseEvent(code=4000, reason="bye", peer_code=4000, peer_reason="bye")
        manager.close_socket()
        manager.close_socket(4001)  # a no-op while it is CLOSING and there is no other
        assert manager.current is two
        with pytest.raises(SocketClosedError):
            await manager.send_socket_message("x")
        assert (await two.wait_closed()).code == 1000
        assert manager.current is None


async def test_a_global_close_before_open_fails_and_the_socket_opens(memory_socket_server: SocketServer) -> None:
    """The vendors: "the purpose of closing the WebSocket cannot be achieved"."""
    async with open_socket_manager() as manager:
        task = manager.connect_socket(URL, dial=memory_socket_server.dial)
        with pytest.raises(SocketNotOpenError):
            manager.close_socket()
        await task.wait_open()


async def test_global_listeners_follow_the_current_socket(serve: Serve) -> None:
    """From one socket to the next, each event once."""

    def script_for(name: str) -> object:
        async def script(peer: Peer) -> None:
            await peer.accept(f"X-Name: {name}", then=frame(TEXT, name.encode()))
            await peer.finish()

        return script

    async with open_socket_manager() as manager:
        before = manager.on_socket_open(), manager.on_socket_message()
        one = manager.connect_socket(URL, dial=serve(script_for("one")))
        two = manager.connect_socket(URL, dial=serve(script_for("two")))
        closes, errors = manager.on_socket_close(), manager.on_socket_error()
        await two.wait_open()
        await one.wait_open()
        assert (await before[0].receive()).header["x-name"] == "one"
        assert await before[1].receive() == MessageEvent("one")
        manager.close_socket(4000)
        assert (await closes.receive()).code == 4000
        assert (await before[0].receive()).header["x-name"] == "two"
        assert await before[1].receive() == MessageEvent("two")
        manager.close_socket(4001)
        assert (await closes.receive()).code == 4001
        assert manager.current is None
        three = manager.connect_socket(URL, dial=serve(lambda peer: peer.stream.aclose()))
        await three.wait_closed()
        assert "during the handshake" in (await errors.receive()).err_msg
        assert (await closes.receive()).code == 1006
    for receive in (before[0].receive, before[1].receive, closes.receive, errors.receive):
        with pytest.raises(trio.EndOfChannel):
            await receive()
    with pytest.raises(trio.EndOfChannel):
        await manager.on_socket_open().receive()


async def test_a_closed_global_listener_is_detached(memory_socket_server: SocketServer) -> None:
    """With and without a socket."""
    async with open_socket_manager() as manager:
        manager.on_socket_message().close()
        task = manager.connect_socket(URL, dial=memory_socket_server.dial)
        await task.wait_open()
        async with manager.on_socket_message():
            pass
        await task.send("x")
        assert await task.receive() == "x"


async def test_a_global_listener_that_is_full_stops_the_next_socket_too(
    serve: Serve, autojump_clock: MockClock
) -> None:
    """It is one buffer, whichever socket fills it."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(*[frame(TEXT, b"x" * 2**20)] * 15, close_frame(1000))
        await peer.finish()

    async with open_socket_manager() as manager:
        listener = manager.on_socket_message()
        await manager.connect_socket(URL, dial=serve(script)).wait_closed()
        task = manager.connect_socket(URL, dial=serve(script))
        await task.wait_open()
        await trio.sleep(1)
        assert task.ready_state is ReadyState.OPEN
        for _ in range(30):
            await listener.receive()
        await task.wait_closed()


async def test_a_full_global_listener_is_read_while_the_next_socket_connects(serve: Serve) -> None:
    """There is nothing to wake yet."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(TEXT, b"x" * 2**20), frame(TEXT, b"y" * (2**24 - 2**20)))
        await peer.finish()

    async with open_socket_manager() as manager:
        listener = manager.on_socket_message()
        full = manager.connect_socket(URL, dial=serve(script))
        await wait_all_tasks_blocked()
        await full.aclose()
        connecting = manager.connect_socket(URL, dial=serve(silent))
        await wait_all_tasks_blocked()
        for _ in range(2):
            await listener.receive()
        assert connecting.ready_state is ReadyState.CONNECTING


async def test_leaving_closes_every_socket_gracefully(serve: Serve, memory_socket_server: SocketServer) -> None:
    """Those that connect are called off."""
    async with open_socket_manager() as manager:
        tasks = [manager.connect_socket(URL, dial=memory_socket_server.dial) for _ in range(3)]
        connecting = manager.connect_socket(URL, dial=serve(silent))
        for task in tasks:
            await task.wait_open()
    assert [task.close_event for task in tasks] == [CloseEvent(code=1000, peer_code=1000)] * 3
    assert connecting.close_event == CloseEvent(code=1000)
    with pytest.raises(RuntimeError, match="block has ended"):
        manager.connect_socket(URL)
    with pytest.raises(RuntimeError, match="block has ended"):
        async with connect_socket(URL, manager=manager):
            pass


async def test_cancellation_reaches_the_body_first(memory_socket_server: SocketServer) -> None:
    """The sockets still work while the body cleans up; then they end."""
    with trio.CancelScope() as scope:
        async with open_socket_manager() as manager:
            task = manager.connect_socket(URL, dial=memory_socket_server.dial)
            await task.wait_open()
            scope.cancel()
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await task.send("last words")
                    assert await task.receive() == "last words"
    assert task.close_event == CloseEvent(code=1001)


async def test_the_bodys_exception_comes_out_as_it_was(serve: Serve, memory_socket_server: SocketServer) -> None:
    """Un-nested, with sockets in every state."""
    error = KeyError("body")
    with pytest.raises(KeyError) as caught:
        async with open_socket_manager() as manager:
            task = manager.connect_socket(URL, dial=memory_socket_server.dial)
            manager.connect_socket(URL, dial=serve(silent))
            await task.wait_open()
            raise error
    assert caught.value is error
    assert caught.value.__context__ is None
    assert manager.sockets == ()


async def test_leaving_that_is_cancelled_drops_the_sockets(serve: Serve, autojump_clock: MockClock) -> None:
    """And says so by trio.Cancelled."""

    async def deaf(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep_forever()

    with trio.move_on_after(1) as scope:
        async with open_socket_manager() as manager:
            task = manager.connect_socket(URL, dial=serve(deaf))
            await task.wait_open()
    assert scope.cancelled_caught
    assert task.ready_state is ReadyState.CLOSED


async def test_statistics_add_up(memory_socket_server: SocketServer) -> None:
    """Closed sockets included."""
    async with open_socket_manager() as manager:
        for _ in range(2):
            async with connect_socket(URL, manager=manager, dial=memory_socket_server.dial) as task:
                await task.send("abc")
                await task.receive()
                total = manager.statistics()
    assert (total.messages_sent, total.bytes_received, total.rtt) == (2, 6, None)
    assert manager.statistics().messages_received == 2


async def test_every_figure_adds_up(serve: Serve, autojump_clock: MockClock) -> None:
    """Of two sockets that have closed and two that have not, each with its own."""
    async with open_socket_manager() as manager:
        figures = []
        for number in range(1, 5):
            task = manager.connect_socket(URL, dial=serve(echo))
            await task.wait_open()
            for _ in range(number):
                await task.send(b"x" * 10)
            for _ in range(number):
                await task.receive()
            await task.send(b"yy")
            await trio.sleep(1)  # its echo stays in the buffer
            figures.append(task.statistics())
            if number < 3:
                await task.aclose()
        total = manager.statistics()
        for name in ("messages_sent", "messages_received", "bytes_sent", "bytes_received"):
            assert getattr(total, name) == sum(getattr(one, name) for one in figures)
        assert (total.messages_sent, total.bytes_sent) == (14, 108)
        assert (total.send_buffered, total.receive_buffered) == (0, 2 * 130)
        assert (total.rtt, total.dial_seconds, total.tls_seconds, total.handshake_seconds) == (None,) * 4


async def test_an_ssl_context_of_the_manager_is_for_its_wss_urls(
    serve: Serve, serve_tcp: ServeTcp, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """A ws URL among them is not refused for it."""
    url = await serve_tcp(echo, server_context)
    with trio.fail_after(60):
        async with open_socket_manager(ssl_context=client_context) as manager:
            for task in (manager.connect_socket(url), manager.connect_socket(URL, dial=serve(echo))):
                await task.wait_open()
            with pytest.raises(InvalidOptionsError, match="ssl_context"):
                manager.connect_socket(URL, ssl_context=client_context)


async def test_a_block_is_entered_once() -> None:
    """A second time is a mistake that is named."""
    block = open_socket_manager()
    async with block:
        with pytest.raises(RuntimeError, match="a block can be entered once"):
            async with block:
                pass
    with pytest.raises(RuntimeError, match="a block can be entered once"):
        async with block:
            pass


async def test_the_policy_is_checked() -> None:
    """Before the block is entered."""
    with pytest.raises(InvalidOptionsError, match="policy"):
        open_socket_manager(5)  # type: ignore[arg-type]


async def test_leaving_waits_for_sockets_of_other_blocks(memory_socket_server: SocketServer) -> None:
    """A connect_socket block of another task that counts in this manager is closed with it."""
    closed: list[int] = []

    async def other(*, task_status: trio.TaskStatus[None]) -> None:
        async with connect_socket(URL, manager=manager, dial=memory_socket_server.dial) as task:
            task_status.started()
            assert [data async for data in task] == []
            closed.append((await task.wait_closed()).code)

    async with trio.open_nursery() as nursery:
        async with open_socket_manager() as manager:
            await nursery.start(other)
        assert manager.sockets == ()
        await wait_all_tasks_blocked()
    assert closed == [1000]
