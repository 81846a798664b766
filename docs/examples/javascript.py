"""Run a mini program's script, unmodified, in an embedded JavaScript engine.

    python docs/examples/javascript.py script.js [--base-library 1.4.4]

`wx`, `qq` and `console.log` are there; the program ends when its last socket has closed. The engine is QuickJS, from
the package quickjs, which the extra `javascript` brings.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import quickjs
import trio

from trio_socket_task.miniprogram import MiniProgram, SocketTask, open_mini_program

logger = logging.getLogger("trio_socket_task.miniprogram")

# Only text and functions cross the border between the engine and Python. Values go as JSON, in which everything but
# text, finite numbers, true, false and null is a pair of a kind and what it holds: ["binary", "<a character a byte>"].
BORDER = """
function makeApi(host, print, complain) {
  const options = ['url', 'header', 'protocols', 'tcpNoDelay', 'timeout', 'data', 'code', 'reason']
  const callbacks = ['success', 'fail', 'complete']
  const bytes = value => value instanceof ArrayBuffer ? new Uint8Array(value)
    : new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  const toText = value => Array.from(bytes(value), byte => String.fromCharCode(byte)).join('')
  const toBuffer = text => Uint8Array.from(text, character => character.charCodeAt(0)).buffer
  const pack = value => {
    if (value instanceof ArrayBuffer) return ['binary', toText(value)]
    if (ArrayBuffer.isView(value)) return ['view', {}]
    if (typeof value === 'number' && !isFinite(value)) return ['number', String(value)]
    if (Array.isArray(value)) return ['array', value.map(pack)]
    if (typeof value === 'function' || value instanceof Date) return [typeof value, {}]
    if (value !== null && typeof value === 'object')
      return ['object', Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, pack(inner)]))]
    return ['string', 'number', 'boolean', 'object'].includes(typeof value) ? value : [typeof value, {}]
  }
  const attempt = (action, otherwise) => { try { return action() } catch (error) { return otherwise } }
  const report = error => complain(JSON.stringify(show(error)))

  const receiver = f => typeof f === 'function' ? text => {
    const result = JSON.parse(text)
    if (Array.isArray(result.data)) result.data = toBuffer(result.data[1])
    const returned = f(result)
    if (returned instanceof Promise) returned.then(undefined, report)
  } : null
  const call = (target, name, promises) => given => {
    const source = Object(given)
    const packed = {}
    for (const key of options) {
      const value = attempt(() => pack(source[key]), ['throws', {}])
      if (!Array.isArray(value) || value[0] !== 'undefined') packed[key] = value
    }
    const functions = callbacks.map(key => attempt(() => receiver(source[key]), null))
    const perform = () => host(target, name, JSON.stringify(packed), ...functions)
    if (!promises || functions.some(f => f !== null)) return perform()
    return new Promise((resolve, reject) => {
      functions[0] = receiver(resolve)
      functions[1] = receiver(reject)
      perform()
    })
  }
  const listen = (target, name) => listener => { host(target, name, '{}', receiver(listener)) }
  const api = (target, calls, listeners, promises) => {
    const result = {}
    for (const name of calls) result[name] = call(target, name, promises && name !== 'connectSocket')
    for (const name of listeners) result[name] = listen(target, name)
    return result
  }
  const socketTask = target => {
    const task = api(target, ['send', 'close'], ['onOpen', 'onMessage', 'onError', 'onClose'], false)
    Object.assign(task, {CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3})
    return Object.defineProperty(task, 'readyState', {get: () => host(target, 'readyState', '{}')})
  }
  const vendor = target => {
    const listeners = ['onSocketOpen', 'onSocketMessage', 'onSocketError', 'onSocketClose']
    const result = api(target, ['connectSocket', 'sendSocketMessage', 'closeSocket'], listeners, true)
    const connect = result.connectSocket
    return Object.assign(result, {connectSocket: options => socketTask(connect(options))})
  }

  const show = (value, around = []) => {
    if (typeof value === 'string') return around.length ? JSON.stringify(value) : value
    if (typeof value === 'function') return `[Function ${value.name}]`
    if (value === null || typeof value !== 'object') return String(value)
    if (value instanceof Error) return `${value.name}: ${value.message}`
    if (value instanceof ArrayBuffer) return `ArrayBuffer(${value.byteLength})`
    if (ArrayBuffer.isView(value)) return `${value.constructor.name} [${bytes(value).join()}]`
    if (around.includes(value)) return '[Circular]'
    const inner = [...around, value]
    if (Array.isArray(value)) return `[${value.map(one => show(one, inner)).join()}]`
    return `{${Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}:${show(one, inner)}`).join()}}`
  }
  const log = (...values) => {
    print(JSON.stringify(values.map(value => attempt(() => show(value), '[unreadable]')).join(' ')))
  }
  return {wx: vendor('wx'), qq: vendor('qq'), console: {log}}
}
"""


class Options(dict[str, object]):
    """What a script passes; reading an option that throws in the script raises here."""

    def __getitem__(self, name: str) -> object:
        kind, value = packed if isinstance(packed := super().__getitem__(name), list) else ("plain", packed)
        if kind == "throws":
            raise ValueError(f"the script's {name} throws")
        return value if kind == "plain" else unpack(kind, value)


def unpack(kind: str, value: object) -> object:  # noqa: PLR0911 (a table)
    """Give a value that JSON has no form for, or one that holds such values."""
    match kind:
        case "object":
            return {key: unpack(*one) if isinstance(one, list) else one for key, one in value.items()}
        case "binary":
            return value.encode("latin-1")
        case "number":
            return float(value)
        case "array":
            return [unpack(*one) if isinstance(one, list) else one for one in value]
        case "undefined":
            return None
        case "function":
            return unpack
    return {}


class Script:
    """A script at work."""

    def __init__(self, programs: Mapping[str, MiniProgram], show: Callable[[str], None]) -> None:
        self._targets: dict[str, MiniProgram | SocketTask] = dict(programs)
        self._engine = quickjs.Context()
        self._engine.add_callable("$host", self._call)
        self._engine.add_callable("$print", lambda text: show(readable(text)))
        self._engine.add_callable("$complain", lambda text: logger.error("the script rejected: %s", readable(text)))
        self._engine.eval(BORDER)
        self._engine.eval("const {wx, qq, console} = makeApi($host, $print, $complain)")

    def run(self, source: str) -> None:
        """Run it; its listeners run later."""
        self._engine.eval(source)
        self._settle_promises()

    def _settle_promises(self) -> None:
        while self._engine.execute_pending_job():
            pass

    def _call(self, target: str, name: str, options: str, *functions: Callable[[str], None] | None) -> object:
        """Do what the script asks: call a function, register a listener, or look at readyState."""
        owner = self._targets[target]
        if name == "readyState":
            return getattr(owner, name)
        receivers = [None if function is None else partial(self._give, function) for function in functions]
        if name.startswith("on"):
            return getattr(owner, name)(receivers[0])
        callbacks = dict(zip(("success", "fail", "complete"), receivers, strict=True))
        task = getattr(owner, name)(Options(json.loads(options)), **callbacks)
        if name != "connectSocket":
            return None
        handle = f"{target}/{len(self._targets)}"
        self._targets[handle] = task
        return handle

    def _give(self, function: Callable[[str], None], result: Mapping[str, object]) -> None:
        """Call a function of the script; what it throws, the dialect logs."""
        data = result.get("data")
        packed = {"data": ["binary", data.decode("latin-1")]} if isinstance(data, bytes) else {}
        function(json.dumps({**result, **packed}))
        self._settle_promises()


def readable(text: str) -> str:
    """Give text that a script prints as a terminal takes it: JavaScript's may have half characters."""
    return json.loads(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


async def run_script(source: str, base_library: str | None = None, show: Callable[[str], None] = print) -> None:
    """Run a script until its sockets have closed."""
    async with open_mini_program("wx", base_library=base_library) as wx, open_mini_program("qq") as qq:
        Script({"wx": wx, "qq": qq}, show).run(source)
        await wx.wait_closed()
        await qq.wait_closed()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Run a mini program's script.")
    parser.add_argument("script", type=Path)
    parser.add_argument("--base-library", help="the version of the wx base library, such as 1.4.4")
    arguments = parser.parse_args()
    trio.run(run_script, arguments.script.read_text(encoding="utf-8"), arguments.base_library)


if __name__ == "__main__":
    main()
