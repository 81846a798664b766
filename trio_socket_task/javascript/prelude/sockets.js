// `wx` and `qq`: the functions of the vendors' WebSocket pages, and what the user gives besides.
{
  const { attempt, handled, host, miss, pack } = $border
  const setting = host('setting')
  const options = [
    'url', 'header', 'protocols', 'tcpNoDelay', 'perMessageDeflate', 'forceCellularNetwork', 'timeout', 'data', 'code',
    'reason', 'success', 'fail', 'complete'
  ]
  const callbacks = ['success', 'fail', 'complete']

  // Everything is read before Python is asked, because what is read may call back.
  const read = given => {
    const source = Object(given)
    const packed = options.map(key => [key, attempt(() => pack(source[key]), ['throws', null])])
    return Object.fromEntries(packed.filter(([, value]) => !Array.isArray(value) || value[0] !== 'undefined'))
  }
  const call = (handle, name, promises) => given => {
    const packed = read(given)
    const perform = () => host('call', handle, name, ['object', packed]) ?? undefined
    const isHeard = callbacks.some(key => Array.isArray(packed[key]) && packed[key][0] === 'function')
    if (!promises || isHeard) return perform()
    const promise = new Promise((resolve, reject) => {
      packed.success = pack(resolve)
      packed.fail = pack(reject)
      perform()
    })
    handled.add(promise) // the vendors' samples drop it, in listeners that return it without meaning to
    return promise
  }
  const listen = (handle, name) => listener => {
    if (typeof listener === 'function') host('listen', handle, name, pack(listener))
  }
  const socketTask = handle => {
    const task = {}
    for (const name of ['send', 'close']) task[name] = call(handle, name, false)
    for (const name of ['onOpen', 'onMessage', 'onError', 'onClose']) task[name] = listen(handle, name)
    if (setting.strict) return task
    Object.assign(task, { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 })
    return Object.defineProperty(task, 'readyState', { get: () => host('readyState', handle) })
  }

  const connect = call(0, 'connectSocket', false)
  const api = { connectSocket: given => socketTask(connect(given)) }
  for (const name of ['sendSocketMessage', 'closeSocket']) api[name] = call(0, name, true)
  for (const name of ['onSocketOpen', 'onSocketMessage', 'onSocketError', 'onSocketClose']) api[name] = listen(0, name)
  for (const name of setting.functions) api[name] = (...values) => host('stub', name, ...values.map(pack))
  Object.assign(api, setting.values)

  const vendor = new Proxy(api, {
    get (target, name) {
      if (typeof name === 'string' && !(name in target)) miss(`${setting.vendor}.${name}`)
      return target[name]
    }
  })
  for (const name of setting.strict ? [setting.vendor] : ['wx', 'qq']) globalThis[name] = vendor
}
