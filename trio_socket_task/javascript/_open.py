"""The block that a script lives in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Unpack, cast, final

import attrs
import trio

from trio_socket_task._checks import check_positive, check_positive_int
from trio_socket_task._errors import InvalidOptionsError
from trio_socket_task._options import ConnectOptions
from trio_socket_task._service_nursery import ServiceBlock
from trio_socket_task.miniprogram import MiniProgram, open_mini_program

from ._engine import Answer, Engine, Limits, import_engine
from ._modules import Modules
from ._platform import Clock, codec, decode, encode, random_answers, split_url
from ._program import JavaScriptProgram
from ._reports import Reports
from ._sockets import Sockets
from ._sources import Sources
from ._timers import Timers
from ._url_map import UrlMap
from ._values import pack

_MEMORY: Final = 128 * 2**20
_LEAST_MEMORY: Final = 2**20
_TIME: Final = 5.0


@final
@attrs.frozen(kw_only=True)
class Settings:
    """What `open_javascript` was asked for."""

    vendor: str
    strict: bool
    url_map: UrlMap
    host: Mapping[str, object]
    folder: Path | None
    start_time: float | None
    seed: int | None
    limits: Limits


@final
class JavaScriptBlock(ServiceBlock[JavaScriptProgram]):
    """The block of `open_javascript`: that of the mini program, and the engine in it."""

    maker = "open_javascript"

    def __init__(self, block: AbstractAsyncContextManager[MiniProgram], settings: Settings) -> None:
        self._block = block
        self._settings = settings
        self._timers = Timers()
        self._reports = Reports()

    async def start(self, nursery: trio.Nursery) -> JavaScriptProgram:
        """Open the mini program, and make the engine."""
        settings, timers, reports, sources = self._settings, self._timers, self._reports, Sources()
        program = await self._block.__aenter__()
        modules = Modules(settings.folder, sources)
        clock = Clock(settings.start_time)
        self._sockets = Sockets(program, settings.url_map, clock, strict=settings.strict)
        answers: dict[str, Callable[..., object]] = {
            **self._sockets.answers(),
            **random_answers(settings.seed),
            "now": clock.milliseconds,
            "startTimer": timers.start,
            "clearTimer": timers.clear,
            "resolve": modules.resolve,
            "read": modules.read,
            "codec": codec,
            "encode": encode,
            "decode": decode,
            "url": split_url,
            "console": reports.print,
            "setting": partial(_prelude_settings, settings),
            "stub": partial(_call_stub, settings.host),
        }
        engine = Engine(
            cast("Mapping[str, Answer]", answers), sources, settings.limits, reports.tell, timers.start_call
        )
        nursery.start_soon(timers.run, partial(engine.call, "timer"))
        return JavaScriptProgram(program, engine, modules, sources, timers, reports)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """End the timers before the sockets, whose listeners are called to the end."""
        self._timers.stop()
        try:
            await self._block.__aexit__(kind, error, traceback)
        except BaseException as cancelled:
            error = cancelled
            raise
        finally:
            self._sockets.end()
            self._reports.console.end()
            suppressed = await super().__aexit__(None, error, None)
        return suppressed

    async def finish(self) -> None:
        """Nothing is left to wait for."""
        await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        """Nothing is left to end."""


def _prelude_settings(settings: Settings) -> dict[str, object]:
    functions = [name for name, value in settings.host.items() if callable(value)]
    values = {name: value for name, value in settings.host.items() if not callable(value)}
    return {"vendor": settings.vendor, "strict": settings.strict, "functions": functions, "values": values}


def _call_stub(host: Mapping[str, object], name: str, *values: object) -> object:
    stub = host[name]
    assert callable(stub)  # noqa: S101 (the prelude has the names of those that are)
    return stub(*values)


def open_javascript(  # noqa: PLR0913 (each is its own)
    vendor: Literal["wx", "qq"] = "wx",
    *,
    base_library: str | None = None,
    strict: bool = False,
    map: Mapping[str, str] | None = None,  # noqa: A002 (the word for it)
    host: Mapping[str, object] | None = None,
    folder: str | PathLike[str] | None = None,
    start_time: float | None = None,
    seed: int | None = None,
    memory_limit: int = _MEMORY,
    time_limit: float = _TIME,
    **defaults: Unpack[ConnectOptions],
) -> AbstractAsyncContextManager[JavaScriptProgram]:
    """Open the block that a mini program's JavaScript runs in, as it is written.

    ``async with open_javascript("wx") as program:`` gives a `JavaScriptProgram`, whose ``run`` runs files. Leaving the
    block drops the timers and closes the sockets as `open_mini_program` does; listeners of their closes still run.

    Args:
        vendor: ``"wx"`` or ``"qq"``. The script has the vendor's object by both names, and may use either for its own.
        base_library: The version of the wx base library, as in `open_mini_program`.
        strict: Whether to be as a phone is: wss only, the six documented functions of SocketTask and no ``readyState``,
            the vendor's own name only, an error and no close after a connection that failed, and nothing told to
            listeners that are late.
        map: Where URLs lead, by their beginning: ``{"wss://api.example.com": server.url}``; ``"*"`` stands for
            whatever is left, up to the path.
        host: What ``wx`` has besides, by name: functions of Python, and values. A function is given what the script
            passes; functions of the script that it calls run soon after.
        folder: The program's folder, out of which ``require`` does not lead; by default that of the first file.
        start_time: When the script's ``Date`` begins, in seconds since 1970; it goes on as Trio's clock does. Default:
            now.
        seed: Makes ``Math.random`` the same in every run. Default: it is not.
        memory_limit: Bytes that the script may have; 128 MiB, with which a machine that runs many tests gets along.
        time_limit: Seconds of the processor for one turn of the script, its Promise jobs included; 5, because a turn
            keeps every other task waiting.
        defaults: What the vendors have no word for, such as ``dial``; see `ConnectOptions`.

    Raises:
        InvalidOptionsError: An argument breaks its rule.
        ModuleNotFoundError: The engine is not installed, or this is not CPython.
    """
    rule = f"must be a whole number of bytes, at least {_LEAST_MEMORY}, which the engine itself needs"
    if check_positive_int("memory_limit", memory_limit, rule) < _LEAST_MEMORY:
        raise InvalidOptionsError("memory_limit", memory_limit, rule)
    if not isinstance(strict, bool):
        raise InvalidOptionsError("strict", strict, "must be True or False")
    for name, value in (("start_time", start_time), ("seed", seed)):
        if not isinstance(value, int | float | None):
            raise InvalidOptionsError(name, value, "must be a number")
    check_positive("time_limit", time_limit, "seconds")
    settings = Settings(
        vendor=vendor,
        strict=strict,
        url_map=UrlMap(map),
        host=_check_host({} if host is None else host),
        folder=None if folder is None else _check_folder(folder),
        start_time=start_time,
        seed=seed,
        limits=Limits(memory=memory_limit, time=time_limit),
    )
    block = open_mini_program(vendor, base_library=base_library, close_after_connect_error=not strict, **defaults)
    import_engine()
    return JavaScriptBlock(block, settings)


def _check_host(host: Mapping[str, object]) -> Mapping[str, object]:
    if not isinstance(host, Mapping):
        raise InvalidOptionsError("host", type(host).__name__, "must be a mapping of names to functions and values")
    for name, value in host.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise InvalidOptionsError("host", name, "must have names of JavaScript as its keys")
        if not callable(value):
            try:
                pack(value)
            except TypeError as error:
                raise InvalidOptionsError("host", name, f"must have functions and plain values: {error}") from None
    return dict(host)


def _check_folder(folder: str | PathLike[str]) -> Path:
    path = Path(fspath(folder)).resolve()
    if not path.is_dir():
        raise InvalidOptionsError("folder", str(folder), "must be a folder that exists")
    return path
