"""The public names."""

from __future__ import annotations

import inspect
import pickle
from importlib.metadata import version
from types import FunctionType, ModuleType

import attrs
import pytest

import trio_socket_task
from trio_socket_task import (
    CloseEvent,
    Coexist,
    ErrorEvent,
    MessageEvent,
    OpenEvent,
    ReadyState,
    miniprogram,
    testing,
)

MODULES = (trio_socket_task, miniprogram, testing)
PUBLIC = [
    pytest.param(module, getattr(module, name), id=f"{module.__name__}.{name}")
    for module in MODULES
    for name in module.__all__
    if inspect.isclass(getattr(module, name)) or inspect.isfunction(getattr(module, name))
]
CALLABLES = [
    pytest.param(function, id=function.__qualname__)
    for _, thing in (parameter.values for parameter in PUBLIC)
    for function in (vars(thing).values() if inspect.isclass(thing) else [thing])
    if inspect.isfunction(function) and not function.__name__.startswith("_")
]


@pytest.mark.parametrize("module", MODULES)
def test_names_are_sorted_and_exist(module: ModuleType) -> None:
    """`__all__` is what there is, in order."""
    assert module.__all__ == sorted(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name)


@pytest.mark.needs("docstrings")
@pytest.mark.parametrize(("module", "thing"), PUBLIC)
def test_public_objects_say_so(module: ModuleType, thing: type) -> None:
    """They belong to the package, not to one of its modules, and have a docstring."""
    assert thing.__module__ == module.__name__
    assert thing.__doc__
    assert not thing.__name__.startswith("_")


@pytest.mark.needs("docstrings")
@pytest.mark.parametrize("function", CALLABLES)
def test_callables_are_documented(function: FunctionType) -> None:
    """And every coroutine says what cancelling it does."""
    documentation = inspect.getdoc(function)
    assert documentation
    if inspect.iscoroutinefunction(function):
        assert "cancelled" in documentation


def test_the_version_is_the_installed_one() -> None:
    """One place to change it."""
    assert trio_socket_task.__version__ == version("trio-socket-task")


@pytest.mark.parametrize(
    "value", [value for name in trio_socket_task.__all__ if attrs.has(value := getattr(trio_socket_task, name))]
)
def test_values_stay_as_they_are_and_their_fields_have_names(value: type[attrs.AttrsInstance]) -> None:
    """So that another field may stand anywhere; but what is one thing, and an error with its words, needs no name."""
    named = value not in {Coexist, ErrorEvent, MessageEvent, OpenEvent}
    assert [field.kw_only for field in attrs.fields(value)] == [named] * len(attrs.fields(value))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        object.__new__(value).anything = 1  # type: ignore[attr-defined]


def test_values_are_pickled_by_their_public_names() -> None:
    """What one version pickles, another reads, wherever the class has moved."""
    for value in (CloseEvent(code=1000), ReadyState.OPEN):
        assert b"trio_socket_task._" not in pickle.dumps(value)
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 (it is our own)
