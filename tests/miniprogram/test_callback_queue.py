"""The order in which events and callbacks of one socket are taken."""

from __future__ import annotations

from trio_socket_task import CloseEvent, ErrorEvent, SocketLostError
from trio_socket_task.miniprogram._callback_queue import CallbackQueue
from trio_socket_task.miniprogram._callbacks import PendingCallback

CLOSE = CloseEvent(code=1006)
ERROR = ErrorEvent("gone", SocketLostError(CLOSE, "gone"))
FIRST, SECOND, THIRD = (PendingCallback(print, {"errMsg": name}) for name in ("first", "second", "third"))


def taken(queue: CallbackQueue) -> list[object]:
    """Take everything."""
    items: list[object] = []
    while queue:
        items.append(queue.pop()[0])
    return items


def test_the_end_comes_after_callbacks() -> None:
    """What was asked before the failure and the close are delivered comes before them, after what came before it."""
    queue = CallbackQueue(1000)
    queue.mailbox.put("hello", 5)
    queue.mailbox.put(ERROR, 0)
    queue.put([FIRST])
    queue.mailbox.put(CLOSE, 0)
    queue.put([SECOND, THIRD])
    assert taken(queue) == ["hello", [FIRST], [SECOND, THIRD], ERROR, CLOSE]


def test_callbacks_come_after_each_other() -> None:
    """Also where nothing else waits, and where the end alone does."""
    queue = CallbackQueue(1000)
    queue.put([FIRST])
    queue.put([SECOND])
    assert taken(queue) == [[FIRST], [SECOND]]
    queue.mailbox.put(CLOSE, 0)
    queue.put([THIRD])
    assert taken(queue) == [[THIRD], CLOSE]


def test_the_end_comes_after_messages_that_were_kept() -> None:
    """They were put last, because a listener of messages came last."""
    queue = CallbackQueue(1000)
    queue.mailbox.put(ERROR, 0)
    queue.mailbox.put(CLOSE, 0)
    queue.mailbox.put("kept", 4)
    queue.move_end_last()
    assert taken(queue) == ["kept", ERROR, CLOSE]


def test_what_was_missed_comes_first() -> None:
    """In the order in which it happened."""
    queue = CallbackQueue(1000)
    queue.mailbox.put(CLOSE, 0)
    queue.put_missed(SECOND, 2)
    queue.put_missed(THIRD, 2)
    queue.put_missed(FIRST, 0)
    assert not queue.is_at_end
    assert [queue.pop() for _ in range(3)] == [([FIRST], 0), ([SECOND], 0), ([THIRD], 0)]
    assert queue.is_at_end
    assert taken(queue) == [CLOSE]
