// The border: nothing but text crosses between the script and Python. Values go as JSON, in which everything but text,
// finite numbers, true, false and null is a pair of a kind and what it holds: ["binary", "<Base64>"].
globalThis.$border = (call => {
  'use strict'
  const { parse, stringify } = JSON // as they are before a script may replace them
  const nativeThen = Promise.prototype.then
  const functions = new Map()
  let lastFunction = 0

  const attempt = (action, otherwise) => { try { return action() } catch { return otherwise } }

  const keep = f => {
    functions.set(++lastFunction, f)
    return lastFunction
  }
  const base64 = value => (value instanceof ArrayBuffer ? new Uint8Array(value)
    : new Uint8Array(value.buffer, value.byteOffset, value.byteLength)).toBase64()
  const pack = value => {
    if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value
    if (typeof value === 'number') return isFinite(value) ? value : ['number', String(value)]
    if (typeof value === 'function') return ['function', keep(value)]
    if (typeof value !== 'object') return [typeof value, null]
    if (value instanceof ArrayBuffer) return ['binary', base64(value)]
    if (ArrayBuffer.isView(value)) return ['view', base64(value)]
    if (Array.isArray(value)) return ['array', Array.from(value, pack)]
    if (value instanceof Date) return ['date', null]
    return ['object', Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, pack(inner)]))]
  }
  const unpack = value => {
    if (!Array.isArray(value)) return value
    const [kind, content] = value
    if (kind === 'binary') return Uint8Array.fromBase64(content).buffer
    if (kind === 'array') return content.map(unpack)
    if (kind === 'object')
      return Object.fromEntries(Object.entries(content).map(([key, inner]) => [key, unpack(inner)]))
    return kind === 'number' ? Number(content) : undefined
  }

  // Ask Python; `values` are packed already.
  const host = (name, ...values) => {
    const { value, error } = parse(call(name, stringify(values)))
    if (error) throw new (globalThis[error[0]] ?? Error)(error[1])
    return unpack(value)
  }

  // Errors that nobody catches are told, and the program goes on.
  let missing = null // what the script has asked `wx` for in vain
  const describe = error => {
    const text = attempt(() => error instanceof Error ? `${error.name}: ${error.message}` : border.show(error), '?')
    const isMissing = missing && error instanceof TypeError && text === 'TypeError: not a function'
    const stack = attempt(() => error instanceof Error ? String(error.stack) : '', '')
    return [isMissing ? `${text}; there is no ${missing} here, open_javascript(host=...) gives it` : text, stack]
  }
  const report = error => { host('error', ...describe(error)) }
  const guard = action => {
    try { return watch(action()) } catch (error) { report(error) }
  }

  // Rejected promises: `await` and `then` read the property constructor, which tells that somebody handles a promise.
  const handled = new WeakSet()
  const rejected = []
  let reading = false
  const NativePromise = Promise
  Object.defineProperty(Promise.prototype, 'constructor', {
    configurable: true,
    get() {
      if (!reading && this instanceof NativePromise) handled.add(this)
      return NativePromise
    },
    set(value) { Object.defineProperty(this, 'constructor', { value, writable: true, configurable: true }) }
  })
  const watch = value => {
    if (!(value instanceof NativePromise)) return value
    reading = true
    nativeThen.call(value, undefined, error => {
      rejected.push([value, error])
      host('rejected')
    })
    reading = false
    return value
  }
  Promise.prototype.then = function then (...reactions) {
    return watch(nativeThen.apply(this, reactions))
  }
  Object.defineProperty(Promise.prototype, 'then', { enumerable: false })

  // What Python calls, by name; `released` are functions that it has let go of.
  const turns = {
    invoke: (id, ...values) => { guard(() => functions.get(id)(...values)) },
    rejections () {
      for (const [promise, error] of rejected.splice(0)) {
        if (!handled.has(promise)) report(error)
        handled.add(promise) // it may be watched twice
      }
    }
  }
  const turn = (name, released, values) => {
    if (name !== 'rejections') missing = null
    for (const id of parse(released)) functions.delete(id)
    return stringify(pack(turns[name](...parse(values).map(unpack))))
  }

  // Each turn begins with this (see _time_limit.py), whatever the script has made of its global object.
  let lifter
  Object.defineProperty(globalThis, '$lifter', { get () { lifter = undefined }, set (f) { lifter = f } })

  const border = {
    attempt, describe, guard, handled, host, pack, turn, turns, watch,
    miss (name) { missing = name }
  }
  return border
})($host)
