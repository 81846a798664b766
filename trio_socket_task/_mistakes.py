"""What is often tried by mistake, and errors that say what to do instead, where Python's own would not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NoReturn, TypeVar, cast, final

_T = TypeVar("_T")


@final
class _Nothing:
    """What a plain function returns that is often awaited: it counts as None, but for the error."""

    def __init__(self, advice: str) -> None:
        self._advice = advice

    def __repr__(self) -> str:
        return "None"

    def __bool__(self) -> bool:
        return False

    def __await__(self) -> NoReturn:
        raise TypeError(self._advice)


NO_WAIT: Final = cast("None", _Nothing("this only starts closing; to wait for the end, write `await task.aclose()`"))
"""What plain functions that close return; for type checkers it is None, so that they find the mistake first."""


def none_if_nothing(value: _T) -> _T:
    """Return what a function of the program's returned, None where it is what `NO_WAIT` is."""
    return cast("_T", None) if isinstance(value, _Nothing) else value


@final
class _OtherName:
    """An attribute that there is not, under the name that another library has for it."""

    def __init__(self, name: str, instead: str) -> None:
        self._name = name
        self._instead = instead

    def __get__(self, instance: object, owner: type[object]) -> NoReturn:
        why = f"a {owner.__name__} has no {self._name!r}; use {self._instead}"
        raise AttributeError(why, name=self._name, obj=instance)


def tells_names(others: Mapping[str, str]) -> Callable[[type[_T]], type[_T]]:
    """Return a class decorator: names of other libraries raise an AttributeError that tells what to use instead.

    They are no ``__getattr__``, which would make every call of a method slower, and hide mistakes from type checkers.
    """

    def decorate(kind: type[_T]) -> type[_T]:
        def __dir__(self: _T) -> list[str]:  # noqa: N807 (it becomes that method)
            return [name for name in object.__dir__(self) if name not in others]

        for name, instead in others.items():
            setattr(kind, name, _OtherName(name, instead))
        setattr(kind, "__dir__", __dir__)  # noqa: B010 (type checkers need not know)
        return kind

    return decorate


_RECEIVE: Final = "receive(), which returns str for text and bytes for binary"
_SEND: Final = "send(data), where str is text and bytes are binary"
CHANNEL_NAMES: Final = {
    **dict.fromkeys(("recv", "receive_str", "receive_text", "receive_bytes", "get_message", "read"), _RECEIVE),
    **dict.fromkeys(("send_str", "send_text", "send_bytes", "send_binary", "send_message", "write"), _SEND),
    "recv_nowait": "receive_nowait()",
    "receive_json": "receive() and json.loads",
    "send_json": "send(json.dumps(value))",
    "iter_messages": "async for data in ...",
    "disconnect": "close(), or aclose() to wait for the end, too",
}
"""What other libraries call what channels do: websockets, trio-websocket, aiohttp, httpx-ws, websocket-client."""
SOCKET_NAMES: Final = {
    **CHANNEL_NAMES,
    **dict.fromkeys(("closed", "connected", "state", "readyState"), "ready_state"),
    **dict.fromkeys(("close_code", "close_reason"), "close_event, which has both and is None before the end"),
    "wait_disconnected": "wait_closed()",
    "subprotocol": "protocol",
    **dict.fromkeys(("headers", "response_headers"), "header"),
    "latency": "ping(), which returns seconds",
    "pong": "nothing: a Ping frame is answered as soon as it comes",
    **{f"on{what.title()}": f"on_{what}(), which returns a channel" for what in ("open", "message", "error", "close")},
}
"""The same of one socket; the vendors' names, too."""
BLOCK_NAMES: Final = dict.fromkeys(
    ("send", "send_nowait", "receive", "receive_nowait", "close", "aclose", "connect_socket", "url", "header"),
    "that of what `async with ... as ...:` gives: it is only a block",
)
"""What somebody wants of a block that was never entered."""
