"""Run a mini program's script, unmodified, in an embedded JavaScript engine.

    python docs/examples/javascript.py script.js [--base-library 1.4.4]

`wx`, `qq` and `console.log` are there; the program ends when its last socket has closed. The engine is QuickJS, from
the package quickjs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import quickjs
import trio

from trio_socket_task.miniprogram import MiniProgram, SocketTask, open_mini_program

# Only text and functions cross the border between the engine and Python: options and results go as JSON, in which what
# JSON has no form for is an object with one key, such as {"$binary": "<a character for each byte>"}.
BORDER = """
function makeApi(host, print) {
  const options = ['url', 'header', 'protocols', 'tcpNoDelay', 'timeout', 'data', 'code', 'reason']
  const callbacks = ['success', 'fail', 'complete']
  const toText = (buffer, start, size) =>
    Array.from(new Uint8Array(buffer, start, size), byte => String.fromCharCode(byte)).join('')
  const toBuffer = text => Uint8Array.from(text, character => character.charCodeAt(0)).buffer
  const toPlain = value => {
    if (value instanceof ArrayBuffer) return {$binary: toText(value, 0, value.byteLength)}
    if (ArrayBuffer.isView(value)) return {$binary: toText(value.buffer, value.byteOffset, value.byteLength)}
    if (typeof value === 'number' && !isFinite(value)) return {$number: String(value)}
    if (typeof value === 'function') return {$function: true}
    if (typeof value === 'bigint' || typeof value === 'symbol') return {$other: true}
    if (Array.isArray(value)) return value.map(toPlain)
    if (value === null || typeof value !== 'object') return value
    const isPlain = [null, Object.prototype].includes(Object.getPrototypeOf(value))
    return isPlain ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toPlain(inner)])) : {}
  }
  const read = (source, name) => { try { return source[name] } catch (error) { return undefined } }
  const readPlain = (source, name) => { try { return toPlain(source[name]) } catch (error) { return {$other: true} } }
  const receiver = f => typeof f === 'function' ? text => {
    const result = JSON.parse(text)
    if (result.data && result.data.$binary !== undefined) result.data = toBuffer(result.data.$binary)
    f(result)
  } : null

  const call = (target, name) => given => {
    const source = Object(given)
    const plain = Object.fromEntries(options.filter(key => read(source, key) !== undefined)
      .map(key => [key, readPlain(source, key)]))
    return host(target, name, JSON.stringify(plain), ...callbacks.map(key => receiver(read(source, key))))
  }
  const listen = (target, name) => listener => { host(target, name, '{}', receiver(listener)) }
  const api = (target, calls, listeners) => {
    const result = {}
    for (const name of calls) result[name] = call(target, name)
    for (const name of listeners) result[name] = listen(target, name)
    return result
  }
  const socketTask = target => {
    const task = api(target, ['send', 'close'], ['onOpen', 'onMessage', 'onError', 'onClose'])
    Object.assign(task, {CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3})
    return Object.defineProperty(task, 'readyState', {get: () => host(target, 'readyState', '{}')})
  }
  const vendor = target => {
    const listeners = ['onSocketOpen', 'onSocketMessage', 'onSocketError', 'onSocketClose']
    const result = api(target, ['connectSocket', 'sendSocketMessage', 'closeSocket'], listeners)
    const connect = result.connectSocket
    return Object.assign(result, {connectSocket: options => socketTask(connect(options))})
  }
  const show = value =>
    typeof value === 'string' ? value : value instanceof ArrayBuffer ? `ArrayBuffer(${value.byteLength})` :
    value === undefined ? 'undefined' : JSON.stringify(toPlain(value))
  const console = {log: (...values) => { print(values.map(show).join(' ')) }}
  return {wx: vendor('wx'), qq: vendor('qq'), console}
}
"""


class Script:
    """A script at work."""

    def __init__(self, programs: Mapping[str, MiniProgram], show: Callable[[str], None]) -> None:
        self._targets: dict[str, MiniProgram | SocketTask] = dict(programs)
        self._engine = quickjs.Context()
        self._engine.add_callable("$host", self._call)
        self._engine.add_callable("$print", show)
        self._engine.eval(BORDER)
        self._engine.eval("const {wx, qq, console} = makeApi($host, $print)")

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
        arguments = {key: _decode(value) for key, value in json.loads(options).items()}
        callbacks = dict(zip(("success", "fail", "complete"), receivers, strict=True))
        task = getattr(owner, name)(arguments, **callbacks)
        if name != "connectSocket":
            return None
        handle = f"{target}/{len(self._targets)}"
        self._targets[handle] = task
        return handle

    def _give(self, function: Callable[[str], None], result: Mapping[str, object]) -> None:
        """Call a function of the script; what it throws, the dialect logs."""
        function(json.dumps({key: _encode(value) for key, value in result.items()}))
        self._settle_promises()


def _decode(value: object) -> object:
    if not isinstance(value, dict):
        return value
    if "$binary" in value:
        return value["$binary"].encode("latin-1")
    if "$number" in value:
        return float(value["$number"])
    return _decode if "$function" in value else value


def _encode(value: object) -> object:
    return {"$binary": value.decode("latin-1")} if isinstance(value, bytes) else value


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
