"""The peer's own keepalive, in messages: each is answered at once, as a Ping is, and is no message of the program's."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from trio_socket_task._log import SafeLogger
from trio_socket_task._options import Heartbeat
from trio_socket_task._protocol._constants import MAX_PONGS
from trio_socket_task._protocol._events import Message

_logger = SafeLogger("trio_socket_task")


def answer_peer(heartbeat: Heartbeat, messages: list[Message]) -> tuple[list[Message], Sequence[str | bytes]]:
    """Return the messages that are the program's, and the answers to the others: to the latest of very many."""
    others: list[Message] = []
    answers: deque[str | bytes] = deque(maxlen=MAX_PONGS)
    for message in messages:
        answer = _answer_to(heartbeat, message[0])
        if answer is None:
            others.append(message)
        else:
            answers.append(answer)
    return others, answers


def _answer_to(heartbeat: Heartbeat, data: str | bytes) -> str | bytes | None:
    try:
        return heartbeat.answer_to(data)
    except Exception:
        _logger.exception("the heartbeat's answer function failed; the message is taken for the program's")
        return None
