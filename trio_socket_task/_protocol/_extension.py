"""The negotiation of permessage-deflate: what is offered, and what an answer may be (RFC 7692 section 7.1)."""

from __future__ import annotations

import re

import attrs

from trio_socket_task._compression import PerMessageDeflate

NAME = "permessage-deflate"
_MAX_BITS, _MIN_BITS = 15, 9
_BITS = re.compile(r"[89]|1[0-5]")  # sections 7.1.2.1 and 7.1.2.2: a decimal number without leading zeros
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 (RFC 7230 section 3.2.6)
_BLANK = r"[ \t]*"
_PARAMETER = rf'{_BLANK};{_BLANK}({_TOKEN})(?:{_BLANK}={_BLANK}(?:({_TOKEN})|"((?:[^"\\]|\\.)*)"))?'
_PARAMETERS = re.compile(_PARAMETER)
_EXTENSION = re.compile(rf"{_BLANK}({_TOKEN})((?:{_PARAMETER})*){_BLANK}")
_ESCAPED = re.compile(r"\\(.)")
_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOWS = ("server_max_window_bits", "client_max_window_bits")


class InvalidExtensionError(Exception):
    """An answer that does not fit what was offered; the text says why, and names the parameter."""


def offer(wanted: PerMessageDeflate) -> str:
    """Return the value of Sec-WebSocket-Extensions that asks for what is wanted, and for nothing else."""
    parameters = [NAME]
    if wanted.server_no_context_takeover:
        parameters.append("server_no_context_takeover")
    if wanted.client_no_context_takeover:
        parameters.append("client_no_context_takeover")
    if wanted.server_max_window_bits < _MAX_BITS:
        parameters.append(f"server_max_window_bits={wanted.server_max_window_bits}")
    bits = wanted.client_max_window_bits
    parameters.append("client_max_window_bits" + (f"={bits}" if bits < _MAX_BITS else ""))
    return "; ".join(parameters)


def accept(offered: PerMessageDeflate, answer: str) -> PerMessageDeflate:
    """Return what is agreed on by the server's Sec-WebSocket-Extensions.

    Raises:
        InvalidExtensionError: The answer is not well-formed, or is none to what was offered.
    """
    parameters = _parse(answer)
    for name, value in parameters.items():
        if name in _FLAGS:
            if value is not None:
                raise InvalidExtensionError(f"gives {name} a value, {value!r}")
        elif name not in _WINDOWS:
            raise InvalidExtensionError(f"has {name}, which is no parameter of {NAME}")
        elif value is None or not _BITS.fullmatch(value):
            said = "no value" if value is None else repr(value)
            raise InvalidExtensionError(f"gives {name} {said}, and not a number from 8 to 15")
    if offered.server_no_context_takeover and "server_no_context_takeover" not in parameters:
        raise InvalidExtensionError("lacks server_no_context_takeover, which was asked for")
    server_bits = _window(parameters, "server_max_window_bits", offered.server_max_window_bits)
    client_bits = offered.client_max_window_bits
    if offered.server_max_window_bits < _MAX_BITS and "server_max_window_bits" not in parameters:
        raise InvalidExtensionError("lacks server_max_window_bits, which was asked for")
    if "client_max_window_bits" in parameters:
        client_bits = _window(parameters, "client_max_window_bits", client_bits)
        if client_bits < _MIN_BITS:
            raise InvalidExtensionError("gives client_max_window_bits 8, of which zlib cannot make a raw stream")
    return attrs.evolve(
        offered,
        server_max_window_bits=max(server_bits, _MIN_BITS),
        client_max_window_bits=client_bits,
        server_no_context_takeover="server_no_context_takeover" in parameters,
        client_no_context_takeover=offered.client_no_context_takeover or "client_no_context_takeover" in parameters,
    )


def _window(parameters: dict[str, str | None], name: str, most: int) -> int:
    bits = int(parameters.get(name) or most)
    if bits > most:
        raise InvalidExtensionError(f"gives {name} {bits}, more than the {most} that was offered")
    return bits


def _parse(answer: str) -> dict[str, str | None]:
    """Return the parameters of the one extension that an answer chooses (RFC 6455 section 9.1)."""
    answer = answer.strip(" \t,")  # a list may have empty elements (RFC 7230 section 7)
    found = _EXTENSION.match(answer)
    if found is None:
        raise InvalidExtensionError(f"has no extension in Sec-WebSocket-Extensions: {answer!r}")
    name, rest = found[1], answer[found.end() :]
    if name != NAME:
        raise InvalidExtensionError(f"chooses the extension {name}, which was not offered")
    if rest.startswith(","):
        again = _EXTENSION.match(rest, 1)
        if again is not None and again[1] == NAME:
            raise InvalidExtensionError(f"chooses {NAME} twice")
        raise InvalidExtensionError(f"chooses another extension than the one that was offered: {rest[1:].strip()}")
    if rest:
        raise InvalidExtensionError(f"has a malformed Sec-WebSocket-Extensions at {rest!r}")
    parameters: dict[str, str | None] = {}
    for parameter, token, text in (match.groups() for match in _PARAMETERS.finditer(found[2])):
        if parameter in parameters:
            raise InvalidExtensionError(f"repeats {parameter}")
        parameters[parameter] = token if text is None else _ESCAPED.sub(r"\1", text)
    return parameters
