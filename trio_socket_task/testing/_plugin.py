"""The pytest plugin: fixtures for tests that run on Trio. Without pytest-trio it does nothing."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("pytest_trio") is not None:
    from ._fixtures import (  # noqa: F401 (pytest finds them here)
        javascript,
        memory_socket_server,
        mini_program,
        no_socket_leaks,
        pytest_runtest_call,
        socket_kit_on_trio,
        socket_manager,
        socket_server,
    )
