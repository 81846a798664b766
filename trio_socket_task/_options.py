"""What a caller may ask for, checked before any I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Literal, TypedDict, final

import attrs

from ._checks import check_positive, check_positive_int, encode_payload, encode_text
from ._compression import PerMessageDeflate
from ._dial import Dial
from ._errors import InvalidOptionsError
from ._functions import call_plain, check_plain
from ._proxy_url import Proxy, check_proxy
from ._text import kind_of, mask_url, name_character
from ._url import Address, check_url

_MIB = 2**20
_BUSY_POLL = 0.00005
_MAX_BUSY_POLL = 0.001  # other tasks do not run meanwhile
_SIZE = "must be a positive whole number of bytes"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 7230 section 3.2.6
_NO_TOKEN = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 7230 section 3.2: all but the tab
_FORBIDDEN_FIELDS = frozenset({"transfer-encoding", "trailer", "expect", "te", "keep-alive", "http2-settings"})
"""Of a request without a body (RFC 7230 sections 3.3 and 4.4, RFC 7231 section 5.1.1), or only together with an option
of Connection (RFC 7230 section 6.1), which the handshake owns."""
_OWN_FIELDS = frozenset({"referer", "host", "upgrade", "connection", "content-length"}) | _FORBIDDEN_FIELDS
_OWN_PREFIX = "sec-websocket-"
_MAX_BEAT = 2**15  # more than a heartbeat needs, and a small frame


@final
@attrs.frozen(kw_only=True)
class Heartbeat:
    """Ping frames, or messages, sent for as long as the socket is open, and answered by a peer that is alive.

    Raises:
        InvalidOptionsError: A time is not positive and finite, or there is a message without a reply to it.
    """

    interval: float = attrs.field(default=20.0)
    """Seconds between two pings, or until the pong where that takes longer. 20 keeps the usual proxy timeout of 60
    seconds away."""
    timeout: float = attrs.field(default=10.0)
    """Seconds that the pong may take; then the socket is lost. Whatever comes in meanwhile starts the time anew,
    because no pong can stand inside a large message. It is suspended while the receive buffer is full, because a pong
    could not be seen."""
    message: str | bytes | None = attrs.field(default=None, repr=kind_of)
    """What is sent instead of a Ping frame, where the peer wants a message of its own protocol. Default: none."""
    reply: str | bytes | Callable[[str | bytes], bool] | None = attrs.field(default=None, repr=kind_of)
    """What answers that message: this very message, or one for which this function says True. It is the heartbeat's
    own, and the program does not receive it."""
    answer: Callable[[str | bytes], str | bytes | None] | None = attrs.field(default=None, repr=kind_of)
    """What answers messages of the peer's own keepalive: a function of a message that returns the answer, or None for a
    message that is none. The answer, of at most 32 KiB, goes out at once, whether or not the program reads, and the
    program does not receive what it answers. Default: none."""

    @interval.validator
    @timeout.validator
    def _check(self, attribute: attrs.Attribute[float], value: float) -> None:
        check_positive(attribute.name, value, "seconds")

    @message.validator
    def _check_message(self, _attribute: attrs.Attribute[str | bytes | None], value: str | bytes | None) -> None:
        if value is not None:
            if not isinstance(value, str | bytes):
                raise InvalidOptionsError("message", value, "must be str or bytes, or None for Ping frames")
            if len(encode_payload(value, "message")) > _MAX_BEAT:
                raise InvalidOptionsError("message", value, f"must have at most {_MAX_BEAT} bytes")
        if (value is None) != (self.reply is None):
            raise InvalidOptionsError("reply", self.reply, "must be given together with message, and not without it")

    @reply.validator
    def _check_reply(self, _attribute: object, value: object) -> None:
        if isinstance(value, str | bytes):
            encode_payload(value, "reply")
        elif value is not None:
            check_plain("reply", value, "str, bytes or a function of a message")

    @answer.validator
    def _check_answer(self, _attribute: object, value: object) -> None:
        if value is not None:
            check_plain("answer", value, "a function of a message")

    def is_reply(self, data: str | bytes) -> bool:
        """Whether a message answers the heartbeat's own."""
        if callable(self.reply):
            return call_plain("reply", self.reply, data)
        return isinstance(data, str) == isinstance(self.reply, str) and data == self.reply  # -bb: no str beside bytes

    def answer_to(self, data: str | bytes) -> str | bytes | None:
        """Return the answer to a message of the peer's own keepalive, None to any other.

        Raises:
            TypeError: The function returned neither text nor bytes nor None.
            InvalidOptionsError: It returned what is too large.
        """
        answer = None if self.answer is None else call_plain("answer", self.answer, data)
        if answer is not None and len(encode_payload(answer, "answer")) > _MAX_BEAT:
            raise InvalidOptionsError("answer", answer, f"must return at most {_MAX_BEAT} bytes")
        return answer


class ConnectOptions(TypedDict, total=False):
    """Every keyword of ``connect_socket``."""

    header: Mapping[str, str] | Sequence[tuple[str, str]]
    """Fields added to the request, as pairs where one is repeated. Default: none; this package's User-Agent is
    sent unless there is one, and none where that is empty. Not Referer, Host, Upgrade, Connection, Content-Length or
    Sec-WebSocket-*, which the handshake owns, nor those that HTTP forbids in it, such as Transfer-Encoding."""
    protocols: Sequence[str]
    """Subprotocols offered, the preferred one first. Default: none."""
    tcp_no_delay: bool
    """Whether TCP_NODELAY is set on the socket. Default: False, the vendors' default, so that many small messages
    share packets; set it when a program sends again before the answer to its last message has come."""
    timeout: float
    """Seconds that the whole opening may take: name, TCP, TLS and handshake. Default: 60, the vendors'."""
    close_timeout: float
    """Seconds that a close may take before the connection is dropped. Default: 10."""
    max_message_size: int
    """Bytes that a message may have; a larger one closes the socket with 1009. Default: 16 MiB."""
    receive_buffer: int
    """Bytes kept for a reader that does not read, 128 added for each message; then the socket stops reading.
    Default: 16 MiB."""
    send_buffer: int
    """Bytes queued before ``send`` waits. Default: 1 MiB."""
    heartbeat: Heartbeat | None
    """Ping frames, and how long their answer may take. Default: none."""
    receive_timeout: float | None
    """Seconds without a message or a part of one, after which the socket is lost: for a peer that speaks regularly. A
    Ping of the peer's counts, an answer to this side's own does not. The time is suspended while the receive buffer is
    full. Default: none."""
    busy_poll: float
    """Seconds for which `receive`, or a message listener, looks for the answer to what was just sent, before it waits:
    at most, only as long as that pays, and never while another socket waits for an answer. Default: 0.00005; 0 for one
    look."""
    ssl_context: SSLContext | None
    """The TLS settings of a wss URL. Default: the system's certificate authorities, host names checked."""
    dial: Dial | None
    """How to reach the server. Default: TCP, with happy eyeballs."""
    per_message_deflate: bool | PerMessageDeflate
    """Whether, and how, to offer compression (RFC 7692). What was agreed on is the socket's own `per_message_deflate`.
    Default: False, because the length of what is compressed tells of a secret in it, where an attacker chooses a part.
    """
    proxy: str | Literal[True] | None
    """The URL of a proxy to go through: http, https, socks5h, socks5, socks4a or socks4, with ``user:password@`` where
    it wants to know who asks; True for the environment's, if it names one for this server; None for none. Not a URL
    together with `dial`, which goes its own way. Default: True."""
    proxy_ssl_context: SSLContext | None
    """The TLS settings of an https proxy. Default: as those of `ssl_context`."""


@final
@attrs.frozen(kw_only=True, repr=False)
class Options:
    """What a caller asked for, checked."""

    address: Address
    header: Sequence[tuple[str, str]]
    protocols: Sequence[str]
    tcp_no_delay: bool
    timeout: float
    close_timeout: float
    max_message_size: int
    receive_buffer: int
    send_buffer: int
    heartbeat: Heartbeat | None
    receive_timeout: float | None
    busy_poll: float
    ssl_context: SSLContext | None
    dial: Dial | None
    per_message_deflate: PerMessageDeflate | Literal[False]
    proxy: Proxy | Literal[True] | None
    proxy_ssl_context: SSLContext | None


def with_defaults(defaults: ConnectOptions, options: ConnectOptions) -> ConnectOptions:
    """Return options, and defaults where they say nothing; a way to the server of their own replaces the defaults'."""
    complete: ConnectOptions = {**defaults, **options}
    proxy = options.get("proxy")
    if isinstance(proxy, str) and "dial" not in options:
        complete.pop("dial", None)
    if isinstance(proxy, str) and "proxy_ssl_context" not in options and not proxy.lower().startswith("https:"):
        complete.pop("proxy_ssl_context", None)
    if options.get("dial") is not None and "proxy" not in options:
        complete.pop("proxy", None)
    return complete


def check_options(address: Address, options: ConnectOptions) -> Options:
    """Check every keyword of `connect_socket` and fill in the defaults.

    Raises:
        InvalidOptionsError: A value breaks the rule of its option.
        TypeError: A keyword is unknown.
    """
    unknown = options.keys() - ConnectOptions.__annotations__.keys()
    if unknown:
        known = ", ".join(ConnectOptions.__annotations__)
        raise TypeError(f"unknown option {min(unknown)!r}; the options are {known}")
    tcp_no_delay = options.get("tcp_no_delay", False)
    if not isinstance(tcp_no_delay, bool):
        raise InvalidOptionsError("tcp_no_delay", tcp_no_delay, "must be True or False")
    heartbeat = options.get("heartbeat")
    if heartbeat is not None and not isinstance(heartbeat, Heartbeat):
        raise InvalidOptionsError("heartbeat", heartbeat, "must be a Heartbeat or None")
    dial = options.get("dial")
    if dial is not None and not callable(dial):
        raise InvalidOptionsError("dial", dial, "must be an async callable or None")
    proxy = check_proxy(options.get("proxy", True), dials=dial is not None)
    receive_timeout = options.get("receive_timeout")
    if receive_timeout is not None:
        receive_timeout = check_positive("receive_timeout", receive_timeout, "seconds")
    return Options(
        address=address,
        header=_check_header(options.get("header", ())),
        protocols=_check_protocols(options.get("protocols", ())),
        tcp_no_delay=tcp_no_delay,
        timeout=check_positive("timeout", options.get("timeout", 60), "seconds"),
        close_timeout=check_positive("close_timeout", options.get("close_timeout", 10), "seconds"),
        max_message_size=check_positive_int("max_message_size", options.get("max_message_size", 16 * _MIB), _SIZE),
        receive_buffer=check_positive_int("receive_buffer", options.get("receive_buffer", 16 * _MIB), _SIZE),
        send_buffer=check_positive_int("send_buffer", options.get("send_buffer", _MIB), _SIZE),
        heartbeat=heartbeat,
        receive_timeout=receive_timeout,
        busy_poll=_check_busy_poll(options.get("busy_poll", _BUSY_POLL)),
        ssl_context=_check_ssl_context(address, options.get("ssl_context")),
        dial=dial,
        per_message_deflate=_check_per_message_deflate(options.get("per_message_deflate", False)),
        proxy=proxy,
        proxy_ssl_context=_check_proxy_context(proxy, options.get("proxy_ssl_context")),
    )


def _check_per_message_deflate(wanted: bool | PerMessageDeflate) -> PerMessageDeflate | Literal[False]:  # noqa: FBT001
    if wanted is False or isinstance(wanted, PerMessageDeflate):
        return wanted
    if wanted is not True:
        raise InvalidOptionsError("per_message_deflate", wanted, "must be True, False or a PerMessageDeflate")
    return PerMessageDeflate()


def is_own_field(name: str) -> bool:
    """Whether a header field is the handshake's own, one that it cannot have, or Referer, which the vendors forbid."""
    return name.lower() in _OWN_FIELDS or name.lower().startswith(_OWN_PREFIX)


def _check_header(header: Mapping[str, str] | Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    checked: list[tuple[str, str]] = []
    for name, value in _pairs(header):
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            rule = f"must have tokens for names (RFC 7230 section 3.2.6){_offender(name, _NO_TOKEN)}"
            raise InvalidOptionsError("header", name, rule)
        if is_own_field(name):
            rule = f"must leave the handshake's own fields and Referer alone, of which {name} is one"
            raise InvalidOptionsError("header", value, rule)
        if not isinstance(value, str) or _CONTROL.search(value):
            rule = f"must have a str without control characters as value of {name}{_offender(value, _CONTROL)}"
            raise InvalidOptionsError("header", value, rule)
        encode_text("header", value)
        checked.append((name, value.strip(" \t")))
    return tuple(checked)


def _pairs(header: Mapping[str, str] | Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    if isinstance(header, Mapping):
        return tuple(header.items())
    if isinstance(header, Sequence) and not isinstance(header, str | bytes):
        pairs = tuple(header)
        if all(isinstance(pair, tuple | list) and len(pair) == len(("name", "value")) for pair in pairs):
            return pairs
    raise InvalidOptionsError("header", header, "must be a mapping of names to values, or a sequence of such pairs")


def _check_protocols(protocols: Sequence[str]) -> Sequence[str]:
    if isinstance(protocols, str | bytes) or not isinstance(protocols, Sequence):
        raise InvalidOptionsError("protocols", protocols, "must be a sequence of str")
    for protocol in protocols:
        if not isinstance(protocol, str) or not _TOKEN.fullmatch(protocol):
            rule = f"must contain tokens only (RFC 6455 section 4.1){_offender(protocol, _NO_TOKEN)}"
            raise InvalidOptionsError("protocols", protocol, rule)
    if len(set(protocols)) != len(protocols):
        raise InvalidOptionsError("protocols", protocols, "must not name a protocol twice (RFC 6455 section 4.1)")
    return tuple(protocols)


def _check_busy_poll(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _MAX_BUSY_POLL:
        raise InvalidOptionsError("busy_poll", seconds, f"must be a number of seconds from 0 to {_MAX_BUSY_POLL}")
    return float(seconds)


def _check_ssl_context(address: Address, context: SSLContext | None) -> SSLContext | None:
    _check_client_context("ssl_context", context)
    if context is not None and not address.secure:
        raise InvalidOptionsError("ssl_context", context, f"must be None for a ws URL such as {mask_url(address.url)}")
    return context


def _check_proxy_context(proxy: Proxy | Literal[True] | None, context: SSLContext | None) -> SSLContext | None:
    _check_client_context("proxy_ssl_context", context)
    if context is not None and isinstance(proxy, Proxy) and proxy.scheme != "https":
        raise InvalidOptionsError("proxy_ssl_context", context, f"must be None for a proxy that speaks {proxy.scheme}")
    return context


def _check_client_context(argument: str, context: SSLContext | None) -> None:
    if context is not None and not isinstance(context, SSLContext):
        raise InvalidOptionsError(argument, context, "must be an ssl.SSLContext or None")
    if context is not None and context.protocol is PROTOCOL_TLS_SERVER:
        raise InvalidOptionsError(argument, context, "must be a client's, as ssl.create_default_context() makes it")


def _offender(value: object, offending: re.Pattern[str]) -> str:
    """Name the character that breaks a rule, in parentheses, where it is one."""
    found = offending.search(value) if isinstance(value, str) else None
    return "" if found is None else f" ({name_character(found.string, found.start())})"


def list_defaults() -> Iterator[str]:
    """Return each option with the default that it really has, as in a call."""
    options = check_options(check_url("wss://any.invalid/"), {})
    for name in ConnectOptions.__annotations__:
        yield f"{name}={getattr(options, name)!r}"
