"""A throw-away certificate authority, and the TLS settings of both ends."""

from __future__ import annotations

import functools
import ssl


@functools.cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the server's settings and the client's, made once in a process."""
    try:
        import trustme  # noqa: PLC0415 (needed with TLS only)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a test server with tls=True needs the package trustme; install trio-socket-task[testing]", name="trustme"
        ) from error
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client
