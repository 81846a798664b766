"""The seam through which a stream arrives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""An async callable that is given the host and the port of the URL and returns a connected stream.

``trio.open_tcp_stream`` is one. It is called inside the opening's deadline and may be cancelled; an exception that it
raises becomes the cause of a ``ConnectError``. As with Trio's own streams, a cancelled ``receive_some`` of the stream
must not lose bytes. For ``wss://`` the TLS handshake is done over the stream it returns.
"""
