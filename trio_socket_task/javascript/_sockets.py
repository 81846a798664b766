"""The sockets of a script: what its calls and listeners are for the dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, final

from trio_socket_task.miniprogram import MiniProgram, OpenResult, SocketTask

from ._platform import Clock
from ._url_map import UrlMap
from ._values import OTHER, Unreadable, View

_PROGRAM: Final = 0  # the handle of wx itself
_GLOBAL: Final = ("onSocketOpen", "onSocketMessage", "onSocketError", "onSocketClose")
_OWN: Final = ("onOpen", "onMessage", "onError", "onClose")
_KEPT: Final = 100
"""How many closed sockets are kept, for listeners that are late."""
_NO_URL: Final = 'invalid url ""'


@final
class CallOptions(dict[str, object]):
    """What a script passes; reading an option that throws in the script raises here."""

    def __getitem__(self, name: str) -> object:
        value = super().__getitem__(name)
        if isinstance(value, Unreadable):
            raise ValueError(f"the script's {name} throws")  # noqa: TRY004 (it is not about types)
        return value


@final
class Sockets:
    """The sockets by the numbers that the script knows them by."""

    def __init__(self, program: MiniProgram, url_map: UrlMap, clock: Clock, *, strict: bool) -> None:
        self._program = program
        self._targets: dict[int, MiniProgram | SocketTask] = {_PROGRAM: program}
        self._made = 0
        self._url_map = url_map
        self._clock = clock
        self._strict = strict
        self._listeners: dict[tuple[int, str], list[Callable[[object], object]]] = {}
        if strict:
            self._listen_at_once(_PROGRAM, _GLOBAL)

    def answers(self) -> dict[str, Callable[..., object]]:
        """Return what the prelude asks of sockets."""
        return {"call": self._call, "listen": self._listen, "readyState": self._ready_state}

    def end(self) -> None:
        """Forget all sockets: the program has ended."""
        self._targets.clear()
        self._listeners.clear()

    def _call(self, handle: int, name: str, options: dict[str, object]) -> int | None:
        """Call a function of the vendor's; of ``connectSocket`` return the number of the SocketTask."""
        target = self._targets.get(handle)
        if target is None:
            target = self._program.connectSocket({})  # refused, and CLOSED as the one that was forgotten
        given = CallOptions(options)
        if isinstance(options.get("data"), View):
            given["data"] = OTHER  # what a view shows is no ArrayBuffer
        if name != "connectSocket":
            getattr(target, name)(given)
            return None
        self._forget_closed()
        self._made += 1
        self._targets[self._made] = getattr(target, name)(self._redirected(given))
        if self._strict:
            self._listen_at_once(self._made, _OWN)
        return self._made

    def _redirected(self, options: CallOptions) -> CallOptions:
        """Return the options of a connection with the URL that the script's own leads to."""
        url = options.get("url")
        if not isinstance(url, str):
            return options
        if not self._strict or url.lower().startswith("wss:"):
            return CallOptions(options, url=self._url_map.lookup(url))
        # A phone knows wss only. The dialect refuses an empty URL, and its words are put right.
        words = {
            name: partial(_quote, url, options[name]) for name in ("fail", "complete") if callable(options.get(name))
        }
        return CallOptions(options, url="", **words)

    def _listen(self, handle: int, name: str, listener: Callable[[object], object]) -> None:
        if name.endswith("Open"):
            listener = partial(_tell_opening, self._clock, listener)
        if self._strict:
            listeners = self._listeners.setdefault((handle, name), [])
            if handle == _PROGRAM:
                listeners.clear()
            listeners.append(listener)
        elif handle in self._targets:
            getattr(self._targets[handle], name)(listener)

    def _listen_at_once(self, handle: int, names: tuple[str, ...]) -> None:
        """Listen to everything from the beginning, so that nothing is kept for a late listener."""
        for name in names:
            getattr(self._targets[handle], name)(partial(_tell, self._listeners.setdefault((handle, name), [])))

    def _ready_state(self, handle: int) -> int:
        target = self._targets.get(handle)
        return target.readyState if isinstance(target, SocketTask) else SocketTask.CLOSED

    def _forget_closed(self) -> None:
        """Forget the oldest sockets that are closed, of which the script may have hold for ever."""
        closed = [handle for handle in self._targets if self._ready_state(handle) == SocketTask.CLOSED and handle]
        for handle in closed[:-_KEPT]:
            del self._targets[handle]
            for name in _OWN:
                self._listeners.pop((handle, name), None)


def _tell(listeners: list[Callable[[object], object]], result: object) -> None:
    for listener in tuple(listeners):
        listener(result)


def _tell_opening(clock: Clock, listener: Callable[[object], object], result: OpenResult) -> None:
    """Tell an opening, whose times are those of the script's clock."""
    if "profile" in result:
        profile = result["profile"].copy()  # other listeners may be given the same
        start, end = clock.of_trio(profile["fetchStart"]), clock.of_trio(profile["connectEnd"])
        profile["fetchStart"] = profile["domainLookUpStart"] = profile["domainLookUpEnd"] = start
        profile["connectStart"], profile["connectEnd"] = start, end
        result = OpenResult(header=result["header"], profile=profile)
    listener(result)


def _quote(url: str, function: object, result: Mapping[str, object]) -> None:
    assert callable(function)  # noqa: S101 (it was looked at before)
    function({**result, "errMsg": str(result["errMsg"]).replace(_NO_URL, f'invalid url "{url}"')})
