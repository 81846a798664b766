"""`_connection`: what the one door says of both directions."""

from __future__ import annotations

from peer import BINARY, CLOSE, frame

from trio_socket_task._protocol._connection import ClientConnection


def test_when_it_is_worth_to_read_again_at_once() -> None:
    """In the middle of a large message, and when only the end can come."""
    connection = ClientConnection("ws://x/", 2**20)
    assert not connection.expects_more(read_was_full=True)
    connection.receive_data(frame(BINARY, b"x" * 1000)[:104])
    assert connection.expects_more(read_was_full=True)
    assert not connection.expects_more(read_was_full=False)
    connection.receive_data(b"x" * 900 + frame(BINARY, b"y" * 1000)[:504])
    assert not connection.expects_more(read_was_full=True), "the program is to have the first message first"
    connection.receive_data(b"y" * 100)
    assert connection.expects_more(read_was_full=True)
    connection.receive_data(b"y" * 400)
    assert not connection.expects_more(read_was_full=True)
    connection.receive_data(frame(CLOSE))
    assert connection.expects_more(read_was_full=False)


def test_a_close_has_a_frame_only_where_one_can_be_sent() -> None:
    """None before the connection is open, and none a second time."""
    connection = ClientConnection("ws://x/", 100)
    assert connection.close(1000, "", b"") == b""
    connection = ClientConnection("ws://x/", 100)
    connection.life.open()
    assert connection.close(1000, "", b"")
    assert connection.close(1000, "", b"") is None
