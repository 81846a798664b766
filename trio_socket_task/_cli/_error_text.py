"""What the command line says of an error: with its options in place of the arguments of a Python program."""

from __future__ import annotations

import re
from typing import Final

from trio_socket_task._errors import GaveUpError, HandshakeError, InvalidOptionsError, ProxyError

_OPTIONS: Final = {
    "base_library": "--base-library",
    "header": "--header",
    "map": "--map",
    "max_message_size": "--max-size",
    "protocols": "--protocol",
    "proxy": "--proxy",
    "timeout": "--timeout",
    "url": "URL",
}
"""What the arguments of `connect_socket` are called here."""
_MENTION: Final = re.compile(rf"\b({'|'.join(_OPTIONS)})=(?=[\s,;.)]|$)|\b(max_message_size)\b|(?<=into )(header)\b")


class ServeError(Exception):
    """The server, or the script, cannot begin."""


def error_text(error: BaseException) -> str:
    """Return what an error says, with the options of the command line in place of arguments."""
    if isinstance(error, HandshakeError | ProxyError):
        return str(error)  # what the server, or the proxy, says
    if isinstance(error, OSError):
        return error.strerror or str(error)
    text = str(error) or type(error).__name__
    if isinstance(error, InvalidOptionsError):
        name = error.argument
        text = _OPTIONS.get(name, name) + re.sub(r"\ba str\b", "a text", text.removeprefix(name))
    return name_options(text)


def name_options(text: str) -> str:
    """Return a sentence with the options of the command line in place of arguments that it mentions."""
    return _MENTION.sub(lambda found: _OPTIONS[found[1] or found[2] or found[3]], text)


def error_fields(error: BaseException) -> dict[str, object]:
    """Return what a program reads of an error, beside its text."""
    fields: dict[str, object] = {"kind": type(error).__name__}
    refusal = _refusal(error)
    if refusal is not None:
        fields |= {"status": refusal.status_code, "body": refusal_body(error)}
    return fields


def refusal_body(error: BaseException) -> str:
    """Return what the server said, beyond its status, when it refused the handshake; empty where it did not."""
    refusal = _refusal(error)
    return "" if refusal is None else refusal.body.decode("utf-8", "replace")


def _refusal(error: BaseException) -> HandshakeError | ProxyError | None:
    cause = error.__cause__ if isinstance(error, GaveUpError) else error
    return cause if isinstance(cause, HandshakeError | ProxyError) else None
