// What a phone's engine has and this one lacks: timers, text codecs, URL; and time and chance, which Python gives.
{
  const { guard, host, pack, turns } = $border

  const timers = new Map()
  let lastTimer = 0
  const start = repeats => (f, delay, ...values) => {
    if (typeof f !== 'function') throw new TypeError('a timer needs a function')
    const milliseconds = Number(delay) // which may start a timer itself
    const id = ++lastTimer
    timers.set(id, { f, values, repeats })
    host('startTimer', id, pack(milliseconds), repeats)
    return id
  }
  const clear = id => { if (timers.delete(id)) host('clearTimer', id) }
  turns.timer = id => {
    const timer = timers.get(id)
    if (!timer.repeats) timers.delete(id)
    guard(() => (0, timer.f)(...timer.values))
  }
  Object.assign(globalThis, {
    setTimeout: start(false), setInterval: start(true), clearTimeout: clear, clearInterval: clear
  })

  const now = () => Math.floor(host('now'))
  globalThis.Date = new Proxy(Date, {
    apply: date => new date(now()).toString(),
    construct: (date, values, target) => Reflect.construct(date, values.length ? values : [now()], target),
    get: (date, name, receiver) => name === 'now' ? now : Reflect.get(date, name, receiver)
  })
  Date.prototype.constructor = Date
  const origin = host('now')
  globalThis.performance = { now: () => host('now') - origin, timeOrigin: origin }
  if (host('isSeeded')) Math.random = () => host('random')

  globalThis.TextEncoder = class TextEncoder {
    get encoding () { return 'utf-8' }
    encode (text = '') {
      return Uint8Array.fromBase64(host('encode', String(text).toWellFormed()))
    }
  }
  globalThis.TextDecoder = class TextDecoder {
    #rest = new Uint8Array()
    #started = false
    constructor (label = 'utf-8', { fatal = false, ignoreBOM = false } = {}) {
      this.encoding = host('codec', String(label))
      Object.assign(this, { fatal: Boolean(fatal), ignoreBOM: Boolean(ignoreBOM) })
    }
    decode (data = new ArrayBuffer(0), { stream = false } = {}) {
      const bytes = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
        : new Uint8Array(data)
      const all = new Uint8Array(this.#rest.length + bytes.length)
      all.set(this.#rest)
      all.set(bytes, this.#rest.length)
      const [text, rest] = host('decode', this.encoding, this.fatal, Boolean(stream), all.toBase64())
      const hasMark = !this.#started && !this.ignoreBOM && text.startsWith('\ufeff')
      this.#started = Boolean(stream) && (this.#started || text !== '')
      this.#rest = Uint8Array.fromBase64(rest)
      return hasMark ? text.slice(1) : text
    }
  }

  const plus = text => text.replace(/\+/g, ' ').replace(/(%[0-9a-f]{2})+/gi, found => {
    try { return decodeURIComponent(found) } catch { return found }
  })
  const quote = text => encodeURIComponent(text.toWellFormed()).replace(/%20/g, '+')
  globalThis.URLSearchParams = class URLSearchParams {
    #pairs = []
    constructor (init = '') {
      if (typeof init === 'object' && init !== null)
        for (const [name, value] of init[Symbol.iterator] ? init : Object.entries(init)) this.append(name, value)
      else
        for (const part of String(init).replace(/^\?/, '').split('&'))
          if (part) this.append(plus(part.split('=', 1)[0]), plus(part.slice(part.split('=', 1)[0].length + 1)))
    }
    append (name, value) { this.#pairs.push([String(name), String(value)]) }
    delete (name) { this.#pairs = this.#pairs.filter(([one]) => one !== name) }
    get (name) { return this.getAll(name)[0] ?? null }
    getAll (name) { return this.#pairs.filter(([one]) => one === name).map(([, value]) => value) }
    has (name) { return this.#pairs.some(([one]) => one === name) }
    set (name, value) {
      const index = this.#pairs.findIndex(([one]) => one === name)
      this.#pairs = this.#pairs.filter(([one], at) => one !== name || at === index)
      if (index < 0) this.append(name, value)
      else this.#pairs[index][1] = String(value)
    }
    sort () { this.#pairs.sort(([one], [other]) => one < other ? -1 : one > other ? 1 : 0) }
    forEach (f) { for (const [name, value] of this) f(value, name, this) }
    keys () { return this.#pairs.map(([name]) => name).values() }
    values () { return this.#pairs.map(([, value]) => value).values() }
    entries () { return this.#pairs.map(pair => [...pair]).values() }
    [Symbol.iterator] () { return this.entries() }
    get size () { return this.#pairs.length }
    toString () { return this.#pairs.map(pair => pair.map(quote).join('=')).join('&') }
  }

  const parts = ['protocol', 'username', 'password', 'hostname', 'port', 'pathname', 'hash']
  globalThis.URL = class URL {
    constructor (url, base) {
      const { search, ...rest } = host('url', String(url), base === undefined ? null : String(base))
      for (const name of parts) this[name] = rest[name]
      this.searchParams = new URLSearchParams(search)
      this.#search = search
    }
    #search
    get search () {
      const now = String(this.searchParams)
      return now === String(new URLSearchParams(this.#search)) ? this.#search : now && `?${now}`
    }
    set search (text) {
      this.#search = text && `?${String(text).replace(/^\?/, '')}`
      this.searchParams = new URLSearchParams(text)
    }
    get host () { return this.hostname + (this.port && `:${this.port}`) }
    get origin () { return this.hostname ? `${this.protocol}//${this.host}` : 'null' }
    get href () {
      const user = this.username && `${this.username}${this.password && `:${this.password}`}@`
      const slashes = this.hostname || this.protocol === 'file:' ? '//' : ''
      return `${this.protocol}${slashes}${user}${this.host}${this.pathname}${this.search}${this.hash}`
    }
    toString () { return this.href }
    toJSON () { return this.href }
    static canParse (url, base) { try { return Boolean(new URL(url, base)) } catch { return false } }
  }

  // A phone has these names, and nothing by them: libraries ask for them as they stand, in their first line.
  const absent = [
    'window', 'document', 'frames', 'self', 'location', 'navigator', 'localStorage', 'XMLHttpRequest', 'WebSocket'
  ]
  for (const name of absent) globalThis[name] = undefined
}
