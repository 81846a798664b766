"""The public names."""

from __future__ import annotations

import inspect
import pickle
from importlib.metadata import version

import pytest

import trio_socket_task
from trio_socket_task import CloseEvent, ReadyState

PUBLIC = [name for name in trio_socket_task.__all__ if name != "__version__"]


def test_names_are_sorted_and_exist() -> None:
    """`__all__` is what there is, in order."""
    assert trio_socket_task.__all__ == sorted(trio_socket_task.__all__)
    for name in PUBLIC:
        assert hasattr(trio_socket_task, name)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_objects_say_so(name: str) -> None:
    """They belong to the package, not to one of its modules, and have a docstring that says what may go wrong."""
    thing = getattr(trio_socket_task, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert thing.__module__ == "trio_socket_task"
        assert thing.__doc__
        assert not thing.__name__.startswith("_")


@pytest.mark.parametrize(
    "method",
    [
        method
        for name in ("SocketTask", "SocketManager", "Listener")
        for method in vars(getattr(trio_socket_task, name)).values()
        if inspect.isfunction(method) and not method.__name__.startswith("_")
    ],
)
def test_methods_are_documented(method: object) -> None:
    """And every coroutine says what cancelling it does."""
    documentation = inspect.getdoc(method)
    assert documentation
    if inspect.iscoroutinefunction(method):
        assert "cancelled" in documentation


def test_the_version_is_the_installed_one() -> None:
    """One place to change it."""
    assert trio_socket_task.__version__ == version("trio-socket-task")


def test_values_are_pickled_by_their_public_names() -> None:
    """What one version pickles, another reads, wherever the class has moved."""
    for value in (CloseEvent(code=1000), ReadyState.OPEN):
        assert b"trio_socket_task._" not in pickle.dumps(value)
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 (it is our own)
