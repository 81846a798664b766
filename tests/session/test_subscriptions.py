"""`_subscriptions`: who gets which event, and what is kept."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_socket_task import (
    CloseEvent,
    ErrorEvent,
    HandshakeError,
    Listener,
    ListenerStatistics,
    MessageEvent,
    OpenEvent,
    connect_socket,
)
from trio_socket_task._session._mailbox import EVENTS_KEPT, MESSAGE_OVERHEAD, Mailbox
from trio_socket_task._session._subscriptions import Subscriptions
from trio_socket_task._session._topic import Topic
from trio_socket_task._session._wakeup import Wakeup
from trio_socket_task.testing import SocketServer

OPEN = OpenEvent({})
REFUSED = HandshakeError("ws://server.test/", "403", 403, {"name": "value"}, bytes(500))


class Hub:
    """Subscriptions, and whether they made room."""

    def __init__(self, limit: int = 10**6) -> None:
        self.wakeup = Wakeup()
        self.listeners = Subscriptions(limit, self.wakeup)

    def made_room(self) -> bool:
        """Whether reading was woken since this was last asked."""
        was_set, self.wakeup._is_set = self.wakeup._is_set, False
        return was_set


async def take(listener: Listener[MessageEvent]) -> list[str | bytes]:
    """Take all there is, of an ended listener."""
    return [event.data async for event in listener]


async def take_one(listener: Listener[MessageEvent]) -> str | bytes:
    """Take the next."""
    return (await listener.receive()).data


async def test_every_listener_gets_every_message() -> None:
    """Fan-out, in order."""
    of = Hub().listeners
    one, two = of.listen_messages(), of.listen_messages()
    of.deliver([("a", 1)], 1)
    of.deliver([(b"b", 1)], 1)
    of.end()
    assert await take(one) == await take(two) == ["a", b"b"]


async def test_the_first_listener_gets_what_came_before() -> None:
    """A greeting is not lost; the second listener comes too late for it."""
    of = Hub().listeners
    of.deliver([("greeting", 8)], 8)
    one, two = of.listen_messages(), of.listen_messages()
    of.end()
    assert await take(one) == ["greeting"]
    assert await take(two) == []
    assert not of.inbox.items


async def test_the_inbox_keeps_what_it_has_once_claimed() -> None:
    """Reading the socket itself is to be first, too."""
    of = Hub().listeners
    of.deliver([("greeting", 8)], 8)
    of.claim_inbox()
    listener = of.listen_messages()
    of.deliver([("more", 4)], 4)
    of.end()
    assert [item for item, _ in of.inbox.items] == ["greeting", "more"]
    assert await take(listener) == ["more"]


async def test_messages_without_any_reader_left_are_dropped() -> None:
    """After the only listener has gone, and nobody reads the socket, nothing is kept."""
    of = Hub().listeners
    of.listen_messages().close()
    of.deliver([("a", 1)], 1)
    assert of.kept == 0


async def test_facts_are_told_late_comers_once() -> None:
    """A listener of what has happened gets it, and ends."""
    of = Hub().listeners
    early = of.listen(of.open)
    of.open.publish(OPEN)
    late = of.listen(of.open)
    assert [event async for event in early] == [event async for event in late] == [OPEN]


async def test_listeners_of_an_ended_socket_end() -> None:
    """What never happened ends without an event."""
    of = Hub().listeners
    before = of.listen(of.error)
    of.end()
    assert [event async for event in before] == []
    assert [event async for event in of.listen(of.error)] == []
    assert await take(of.listen_messages()) == []


async def test_a_closed_listener_raises_and_its_reader_wakes() -> None:
    """ClosedResourceError, for the task that waits as for the next one."""
    of = Hub().listeners
    listener = of.listen_messages()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError, match="ask the socket for a new one"):
                await listener.receive()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await listener.aclose()
    listener.close()
    with pytest.raises(trio.ClosedResourceError):
        await listener.receive()


async def test_a_listener_is_an_async_context_manager() -> None:
    """Its block detaches it."""
    of = Hub().listeners
    async with of.listen_messages() as listener:
        assert len(of.message.mailboxes) == 1
        assert repr(listener) == "<Listener open, 0 waiting>"
    assert repr(listener) == "<Listener closed, 0 waiting>"
    assert not of.message.mailboxes


async def test_the_end_of_a_listener_is_a_checkpoint() -> None:
    """However often it is asked for; nothing is looked for any more."""

    def look() -> None:
        raise NotImplementedError

    of = Hub().listeners
    listener, closed = of.listen_messages(look), of.listen_messages(look)
    of.end()
    closed.close()
    for _ in range(3):
        with assert_checkpoints(), pytest.raises(trio.EndOfChannel):
            await listener.receive()
        with assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
            await closed.receive()


@pytest.mark.needs("cpython")
async def test_a_listener_that_has_ended_keeps_nothing_of_its_socket() -> None:
    """A program may hold it for as long as it likes."""

    class Look:
        def __call__(self) -> None:
            raise NotImplementedError

    of, look = Hub().listeners, Look()
    listener, looked = of.listen_messages(look), weakref.ref(look)
    del look
    assert looked() is not None
    of.end()
    assert looked() is None
    assert [event async for event in listener] == []


async def test_to_close_a_listener_is_a_checkpoint() -> None:
    """As every `aclose`; if it is cancelled there, the listener is closed all the same."""
    of = Hub().listeners
    with assert_checkpoints():
        await of.listen_messages().aclose()
    listener = of.listen_messages()
    with trio.CancelScope() as scope:
        scope.cancel()
        await listener.aclose()
    assert scope.cancelled_caught
    assert not of.message.mailboxes


async def test_repr_of_an_ended_listener() -> None:
    """It says what is still to be read."""
    of = Hub().listeners
    listener = of.listen(of.close)
    of.close.publish(CloseEvent(code=1000))
    assert repr(listener) == "<Listener ended, 1 waiting>"


async def test_a_dropped_listener_is_detached() -> None:
    """Hazard R10: nobody can read it any more."""
    of = Hub().listeners
    listener = of.listen_messages()
    del listener
    gc.collect()
    await wait_all_tasks_blocked()
    assert not of.message.mailboxes


def test_a_listener_dropped_after_the_run_is_no_error() -> None:
    """The loop it would detach from has ended."""

    async def make() -> Listener[MessageEvent]:
        await trio.lowlevel.checkpoint()
        return Hub().listeners.listen_messages()

    listener = trio.run(make)
    del listener
    gc.collect()


async def test_a_cancelled_receive_loses_nothing() -> None:
    """The event is there for the next."""
    of = Hub().listeners
    listener = of.listen_messages()
    with trio.CancelScope() as scope:
        scope.cancel()
        of.deliver([("a", 1)], 1)
        await listener.receive()
    assert scope.cancelled_caught
    assert (await listener.receive()).data == "a"


async def test_each_event_goes_to_one_of_the_tasks_that_share_a_listener() -> None:
    """Two waiting tasks, two events, one each."""
    of = Hub().listeners
    listener = of.listen_messages()
    got: list[str | bytes] = []

    async def one() -> None:
        got.append((await listener.receive()).data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        nursery.start_soon(one)
        await wait_all_tasks_blocked()
        of.deliver([("a", 1)], 1)
        of.deliver([("b", 1)], 1)
    assert sorted(map(str, got)) == ["a", "b"]


async def test_a_full_listener_fills_the_socket_and_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    """Hazard R10: bounded, said once, and over when it is read or closed."""
    hub = Hub(limit=2 * (MESSAGE_OVERHEAD + 10))
    of = hub.listeners
    one, two = of.listen_messages(), of.listen_messages()
    with caplog.at_level(logging.WARNING, logger="trio_socket_task"):
        of.deliver([("x" * 10, 10)], 10)
        assert not of.full
        of.deliver([("x" * 10, 10)], 10)
        assert of.full
        of.warn_once()
        of.warn_once()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "reads no more until it has caught up or is closed" in caplog.text
    await one.receive()
    assert (hub.made_room(), of.full) == (True, True)
    two.close()
    assert (hub.made_room(), of.full) == (True, False)
    assert of.kept == MESSAGE_OVERHEAD + 10


async def test_a_full_inbox_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A program that reads more slowly than the peer sends is normal."""
    of = Hub(limit=10).listeners
    of.deliver([("x" * 10, 10)], 10)
    assert of.full
    of.warn_once()
    assert not caplog.records


async def test_a_full_inbox_goes_to_the_first_listener_whole() -> None:
    """Handing it over makes room in one and fills the other."""
    hub = Hub(limit=10)
    hub.listeners.deliver([("x" * 10, 10)], 10)
    listener = hub.listeners.listen_messages()
    assert hub.listeners.full
    await listener.receive()
    assert not hub.listeners.full


def test_an_unread_topic_of_facts_keeps_the_latest() -> None:
    """The oldest makes room: facts cannot stop a socket."""
    mailbox: Mailbox[int] = Mailbox(EVENTS_KEPT, endless=True, drops=True)
    for number in range(5000):
        topic: Topic[int] = Topic(once=True)
        topic.attach(mailbox)
        topic.publish(number)
    assert len(mailbox.items) == EVENTS_KEPT // MESSAGE_OVERHEAD
    assert mailbox.items[-1][0] == 4999


def test_late_comers_make_room_too() -> None:
    """What is kept for an endless mailbox does not make it grow."""
    mailbox: Mailbox[int] = Mailbox(EVENTS_KEPT, endless=True, drops=True)
    for number in range(2000):
        topic: Topic[int] = Topic(once=True)
        topic.publish(number)
        topic.attach(mailbox)
    assert len(mailbox.items) == EVENTS_KEPT // MESSAGE_OVERHEAD


@pytest.mark.parametrize(
    ("event", "held"),
    [
        (ErrorEvent(err_msg="x" * 1000, error=OSError()), 1024 + 2000),
        (ErrorEvent(err_msg="x" * 10, error=REFUSED), 1024 + 20 + MESSAGE_OVERHEAD + 9 + 500),
        (CloseEvent(code=1000, reason="x" * 50, peer_reason="y" * 60), 110),
        (OpenEvent({"name": "value"}), MESSAGE_OVERHEAD + 9),
    ],
)
def test_a_fact_takes_the_room_of_what_it_holds_on_to(event: object, held: int) -> None:
    """Of an error the text, exception and server's answer, of a close both reasons, of an opening the fields."""
    mailbox: Mailbox[object] = Mailbox(EVENTS_KEPT, endless=True, drops=True)
    topic: Topic[object] = Topic(once=False)
    topic.attach(mailbox)
    for _ in range(1025):
        topic.publish(event)
    assert len(mailbox.items) == EVENTS_KEPT // (MESSAGE_OVERHEAD + held)


def test_a_listener_outside_of_trio_is_refused() -> None:
    """And leaves nothing attached."""
    of = Hub().listeners
    with pytest.raises(RuntimeError, match="must be called from async context"):
        of.listen_messages()
    gc.collect()
    assert not of.message.mailboxes


async def test_an_inbox_nobody_reads_holds_up_listeners_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """Once the socket was read, it is a reader as others are."""
    of = Hub(limit=10).listeners
    of.claim_inbox()
    listener = of.listen_messages()
    of.deliver([("a" * 10, 10)], 10)
    assert await take_one(listener) == "a" * 10
    assert of.full
    of.warn_once()
    assert "receive() is 138 bytes behind" in caplog.text


async def test_a_fact_is_dropped_only_for_want_of_room() -> None:
    """Not until the reader has caught up by half."""
    mailbox: Mailbox[int] = Mailbox(EVENTS_KEPT, endless=True, drops=True)
    for number in range(1025):
        topic: Topic[int] = Topic(once=True)
        topic.attach(mailbox)
        if number == 1024:
            mailbox.pop()
        topic.publish(number)
    assert mailbox.items[0][0] == 1


def test_a_full_mailbox_has_room_when_it_was_read_to_half() -> None:
    """Once, and not before; or when everything was taken from it."""
    hub = Hub()
    mailbox = Mailbox[str](4 * (MESSAGE_OVERHEAD + 1), wakeups=(hub.wakeup,))
    for expected in (False, False, False, True):
        mailbox.put("x", 1)
        assert mailbox.full is expected
    for expected in (True, False, False):
        assert mailbox.pop() == ("x", 1)
        assert mailbox.full is expected
        assert hub.made_room() is (mailbox.size == 2 * (MESSAGE_OVERHEAD + 1))
    mailbox.put_first([("y", 1), ("z", 4 * (MESSAGE_OVERHEAD + 1))])
    assert mailbox.full
    assert mailbox.clear() == [("y", 1), ("z", 4 * (MESSAGE_OVERHEAD + 1)), ("x", 1)]
    assert (hub.made_room(), mailbox.size, mailbox.full) == (True, 0, False)
    assert mailbox.clear() == []
    assert not hub.made_room()


async def test_statistics_of_a_listener(memory_socket_server: SocketServer) -> None:
    """What waits, in events and in bytes, and who waits for it."""
    url, dial = memory_socket_server.url, memory_socket_server.dial
    async with connect_socket(url, dial=dial, receive_buffer=1000) as task, task.on_message() as listener:
        assert listener.statistics() == ListenerStatistics(
            events_waiting=0, current_buffer_used=0, max_buffer_size=1000, tasks_waiting_receive=0
        )
        await task.send("hello")
        await wait_all_tasks_blocked()
        assert listener.statistics() == ListenerStatistics(
            events_waiting=1, current_buffer_used=128 + 5, max_buffer_size=1000, tasks_waiting_receive=0
        )
        await listener.receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.receive)
            await wait_all_tasks_blocked()
            assert listener.statistics().tasks_waiting_receive == 1
            nursery.cancel_scope.cancel()


async def test_who_listens_to_one_socket_alone_is_told_by_name() -> None:
    """What listens to socket after socket is its manager's."""
    of = Hub().listeners
    kept = of.listen(of.open), of.listen_messages(), of.listen(of.error), of.listen(of.close)
    of.message.attach(Mailbox(100, endless=True))
    assert [name for name, _ in of.channels()] == ["on_open", "on_message", "on_error", "on_close"]
    kept[1].close()
    assert [name for name, _ in of.channels()] == ["on_open", "on_error", "on_close"]
