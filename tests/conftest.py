"""What the tests share: servers that play a script."""

from __future__ import annotations

import gc
import os
import signal
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import settings
from needs import skip_without
from peer import URL, Peer, Script
from trio.testing import lockstep_stream_pair, memory_stream_pair

from trio_socket_task import ConnectOptions, Dial
from trio_socket_task.testing._certificates import contexts

# The same examples in every run, and no deadline: machines differ, and a red test must be red again.
settings.register_profile("project", derandomize=True, deadline=None, max_examples=200)
settings.load_profile("project")

for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]  # of whoever runs the tests, which they do not depend on

for _name in ("SIGHUP", "SIGINT", "SIGTERM"):
    if (_number := getattr(signal, _name, None)) and signal.getsignal(_number) is signal.SIG_IGN:
        # Whoever runs the tests has it ignored, as nohup and a shell's background do; those that send it need it.
        signal.signal(_number, signal.default_int_handler if _name == "SIGINT" else signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """Hide what is there before the first test from the collector, which tests ask for often, and `get_objects`."""
    if hasattr(gc, "freeze"):  # not on PyPy
        gc.collect()
        gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here."""
    skip_without(item)


Serve = Callable[..., Dial]
ServeTcp = Callable[..., Awaitable[str]]
Reach = Callable[[str, Script], Awaitable[tuple[str, ConnectOptions]]]


@pytest.fixture
def serve(nursery: trio.Nursery) -> Serve:
    """Give a function that turns scripts into a `dial`: each dialled stream meets the next script, the last for ever.

    With ``lockstep=True`` a write waits until it is read, as on a network whose buffers are full.
    """

    def start(*scripts: Script, lockstep: bool = False) -> Dial:
        remaining = list(scripts)

        async def dial(_host: str, _port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            client, server = lockstep_stream_pair() if lockstep else memory_stream_pair()
            script = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            nursery.start_soon(script, Peer(server))
            return client

        return dial

    return start


@pytest.fixture
def serve_tcp(nursery: trio.Nursery) -> ServeTcp:
    """Give a function that plays a script on a loopback port, with TLS when it gets a context, and gives its URL."""

    async def start(script: Script, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> str:
        async def handle(stream: trio.SocketStream) -> None:
            if context is None:
                await script(Peer(stream))
                return
            secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            try:
                await script(Peer(secured))
            finally:
                await trio.aclose_forcefully(secured)

        listeners = await nursery.start(trio.serve_tcp, handle, 0)
        family = trio.socket.AF_INET6 if host.startswith("[") else listeners[0].socket.family
        port = next(one.socket.getsockname()[1] for one in listeners if one.socket.family == family)
        return f"ws{'' if context is None else 's'}://{host}:{port}/"

    return start


@pytest.fixture
def reach(serve: Serve, serve_tcp: ServeTcp, server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> Reach:
    """Give a function that plays a script in "memory", by "tcp" or by "tls", and says how it is reached."""

    async def start(kind: str, script: Script) -> tuple[str, ConnectOptions]:
        if kind == "memory":
            return URL, {"dial": serve(script)}
        if kind == "tcp":
            return await serve_tcp(script), {}
        return await serve_tcp(script, server_context), {"ssl_context": client_context}

    return start


@pytest.fixture(scope="session")
def server_context() -> ssl.SSLContext:
    """Give a server's TLS settings, for localhost and 127.0.0.1."""
    return contexts()[0]


@pytest.fixture(scope="session")
def client_context() -> ssl.SSLContext:
    """Give a client's TLS settings that trust that server."""
    return contexts()[1]
