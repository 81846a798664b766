"""What a program asks of permessage-deflate, and what was agreed on (RFC 7692)."""

from __future__ import annotations

from typing import final

import attrs

from ._errors import InvalidOptionsError

_WINDOW_BITS = range(9, 16)
_LEVELS = range(1, 10)
_MEMORY_LEVELS = range(1, 10)


@final
@attrs.frozen(kw_only=True)
class PerMessageDeflate:
    """Compression of messages by permessage-deflate (RFC 7692): what is offered to the server, or was agreed on.

    Raises:
        InvalidOptionsError: A field breaks its rule.
    """

    server_max_window_bits: int = attrs.field(default=15)
    """How far back what the server compresses may refer, as a power of two of bytes: 9 to 15. Less saves memory here.
    15 is what a server may do anyway, and is not offered; a server that does not know the parameter declines the offer.
    An answer of 8 shows as 9, the smallest window there is for inflating."""
    client_max_window_bits: int = attrs.field(default=12)
    """The same of what this side compresses, which a server may ask to be less."""
    server_no_context_takeover: bool = attrs.field(default=False)
    """Whether the server is to compress each message by itself. It saves this side's memory between messages, and costs
    bytes; and what it sends in one message tells nothing about another."""
    client_no_context_takeover: bool = attrs.field(default=False)
    """Whether this side compresses each message by itself. A server may ask for it, and is obeyed."""
    level: int = attrs.field(default=6)
    """How hard to compress: 1 is fast, 9 is small."""
    memory_level: int = attrs.field(default=5)
    """How much memory to compress with, 1 to 9: 2 to the power of `memory_level` + 9 bytes, beside four times the
    window."""
    threshold: int = attrs.field(default=64)
    """Bytes below which a message is sent as it is, because there is nothing to gain."""

    @server_max_window_bits.validator
    @client_max_window_bits.validator
    def _check_window_bits(self, attribute: attrs.Attribute[int], value: int) -> None:
        rule = "must be a whole number from 9 to 15"
        if value == min(_WINDOW_BITS) - 1:
            rule += "; zlib cannot make a raw stream with a window of 8 bits"
        _check(attribute.name, value, _WINDOW_BITS, rule)

    @server_no_context_takeover.validator
    @client_no_context_takeover.validator
    def _check_no_context_takeover(self, attribute: attrs.Attribute[bool], value: bool) -> None:  # noqa: FBT001 (attrs)
        if not isinstance(value, bool):
            raise InvalidOptionsError(attribute.name, value, "must be True or False")

    @level.validator
    def _check_level(self, attribute: attrs.Attribute[int], value: int) -> None:
        _check(attribute.name, value, _LEVELS, "must be a whole number from 1 to 9")

    @memory_level.validator
    def _check_memory_level(self, attribute: attrs.Attribute[int], value: int) -> None:
        _check(attribute.name, value, _MEMORY_LEVELS, "must be a whole number from 1 to 9")

    @threshold.validator
    def _check_threshold(self, attribute: attrs.Attribute[int], value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InvalidOptionsError(attribute.name, value, "must be a whole number of bytes, 0 or more")


def _check(name: str, value: object, allowed: range, rule: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise InvalidOptionsError(name, value, rule)
