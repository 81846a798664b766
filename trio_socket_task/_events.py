"""The values a socket reports: frozen data, no behaviour, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import final

import attrs

from ._text import kind_of, mask_url, printable


@final
class CloseCode(IntEnum):
    """The registered status codes of a Close frame (RFC 6455 section 7.4 and its IANA registry).

    A program may send ``NORMAL_CLOSURE`` and 3000 to 4999; the others are the peer's or this
    package's to use.
    """

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RCVD = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_FRAME_PAYLOAD_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015


@final
class Header(Mapping[str, str]):
    """The fields of an HTTP message, looked up without regard to case (RFC 7230 section 3.2).

    A field that came several times is one value, joined by ``", "``; `get_all` gives each, which matters for
    Set-Cookie (section 3.2.2). The repr shows the names only, because values may be secrets.
    """

    __slots__ = ("_by_name", "_fields")

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields = tuple(fields)
        self._by_name: dict[str, list[tuple[str, str]]] | None = None  # made by the first look: few headers are read

    def _look(self) -> dict[str, list[tuple[str, str]]]:
        if self._by_name is None:
            self._by_name = {}
            for field in self._fields:
                self._by_name.setdefault(field[0].lower(), []).append(field)
        return self._by_name

    def __getitem__(self, name: str) -> str:
        return ", ".join(value for _, value in self._look()[name.lower()])

    def get_all(self, name: str) -> Sequence[str]:
        """Return the values of every field of a name, in any case, in the order in which they came."""
        return tuple(value for _, value in self._look().get(name.lower(), ()))

    def __iter__(self) -> Iterator[str]:
        return (fields[-1][0] for fields in self._look().values())

    def __len__(self) -> int:
        return len(self._look())

    def __repr__(self) -> str:
        return f"<Header {', '.join(map(printable, self)) or 'of no fields'}>"

    def __reduce__(self) -> tuple[type[Header], tuple[tuple[tuple[str, str], ...]]]:
        return type(self), (self._fields,)

    def __setstate__(self, slots: tuple[None, Mapping[str, tuple[tuple[str, str], ...]]]) -> None:
        # What earlier versions have pickled.
        self._fields = slots[1]["_fields"]
        self._by_name = None


def as_header(fields: Mapping[str, str]) -> Header:
    """Return fields as a header."""
    return fields if isinstance(fields, Header) else Header(fields.items())


@final
@attrs.frozen
class OpenEvent:
    """The socket is open (``SocketTask.onOpen``)."""

    header: Header = attrs.field(converter=as_header)
    """The fields of the server's response; names in any case find them."""


@final
@attrs.frozen(init=False)
class MessageEvent:
    """A message came (``SocketTask.onMessage``)."""

    data: str | bytes = attrs.field(repr=kind_of)
    """``str`` for a text message, ``bytes`` for a binary one; the repr says which, and its length."""

    def __init__(self, data: str | bytes) -> None:
        _set_data(self, data)


_set_data: Callable[[MessageEvent, str | bytes], None] = vars(MessageEvent)["data"].__set__
"""What makes an event in half the time that the `__init__` of a frozen class takes."""


@final
@attrs.frozen
class ErrorEvent:
    """The socket failed (``SocketTask.onError``); its close event follows."""

    err_msg: str
    """What happened, in a sentence."""
    error: Exception
    """The exception that a call of the program's own would raise."""


@final
@attrs.frozen(kw_only=True)
class CloseEvent:
    """The socket has closed (``SocketTask.onClose``); nothing follows."""

    code: int = attrs.field(converter=int)
    """The status code: the one this side asked for, else the peer's, 1005 where the peer gave none, 1006 where
    no Close frame came (RFC 6455 section 7.1.5)."""
    reason: str = ""
    """The reason that goes with the code."""
    peer_code: int | None = attrs.field(default=None, converter=attrs.converters.optional(int))
    """The code in the peer's Close frame, 1005 where it had none; None when no Close frame came."""
    peer_reason: str = ""
    """The reason in the peer's Close frame."""


@final
@attrs.frozen(kw_only=True)
class Attempt:
    """One attempt of a resilient socket to be connected, from its beginning to the end of its connection."""

    url: str = attrs.field(repr=mask_url)
    """Where it went, or the attempt before it when its target could not be asked."""
    connected_for: float = 0.0
    """Seconds from the end of ``on_connected`` to the end of the connection; 0 when it did not come so far."""
    error: Exception | None = None
    """Why it failed, or the connection was lost; None when a Close frame ended it."""
    close_event: CloseEvent | None = None
    """How its socket closed; None when there was none."""
    retry_after: float | None = None
    """Seconds that the server asked to wait, by the Retry-After of a 429 or 503 (RFC 7231 section 7.1.3)."""


@final
@attrs.frozen(kw_only=True)
class ListenerStatistics:
    """A snapshot of what a listener has not been read of, named as those of Trio's memory channels are."""

    events_waiting: int
    """Events that came and were not received."""
    current_buffer_used: int
    """Their bytes, with 128 for each."""
    max_buffer_size: int
    """Bytes from which on the listener is full: then the socket stops reading, or the oldest event is dropped."""
    tasks_waiting_receive: int
    """Tasks that wait for the next event."""


@final
@attrs.frozen(kw_only=True)
class TlsInfo:
    """What the TLS handshake of a socket has agreed on."""

    version: str
    """The protocol's version, such as ``TLSv1.3``."""
    cipher: str
    """The name of the cipher suite."""
    alpn_protocol: str | None = None
    """The application protocol that was chosen (RFC 7301); None when none was."""
    peer_certificate: bytes | None = attrs.field(default=None, repr=kind_of)
    """The server's certificate in DER; `ssl.DER_cert_to_PEM_cert` makes PEM of it."""


SocketEvent = OpenEvent | MessageEvent | ErrorEvent | CloseEvent
"""Any event of a socket."""


@final
@attrs.frozen(kw_only=True)
class SocketStatistics:
    """A snapshot of one socket's figures."""

    messages_sent: int
    """Messages accepted by ``send`` and ``send_nowait``."""
    messages_received: int
    """Messages that came in whole."""
    bytes_sent: int
    """Payload bytes of the messages sent, before framing."""
    bytes_received: int
    """Payload bytes of the messages received."""
    send_buffered: int
    """Bytes of frames waiting to be written."""
    receive_buffered: int
    """Bytes that the slowest reader of this socket has still to take, with 128 for each message."""
    rtt: float | None
    """Seconds from the latest answered ping to its pong; None before the first."""
    dial_seconds: float | None
    """Seconds that resolving the name and connecting took, of the proxy where there is one; None before the socket is
    open."""
    tls_seconds: float | None
    """Seconds that the TLS handshake took; None before the socket is open, and without TLS."""
    handshake_seconds: float | None
    """Seconds that the opening handshake took; None before the socket is open."""
    proxy_seconds: float | None = None
    """Seconds that the proxy took, once connected: its own TLS handshake, and reaching the server; None before the
    socket is open, and without a proxy."""
    wire_bytes_sent: int = 0
    """Bytes of all frames sent, after compression and before TLS, with their headers, Pings, Pongs and Close."""
    wire_bytes_received: int = 0
    """Bytes of all frames received, before they are inflated and after TLS."""

    def __setstate__(self, state: Mapping[str, object] | tuple[None, Mapping[str, object]]) -> None:
        fields = state[1] if isinstance(state, tuple) else state
        # What earlier versions have pickled lacks the last ones.
        for name, value in {"wire_bytes_sent": 0, "wire_bytes_received": 0, "proxy_seconds": None, **fields}.items():
            object.__setattr__(self, name, value)
