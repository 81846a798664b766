// The console: each call becomes one line of a level and a text.
{
  const { attempt, host } = $border

  const show = (value, around = []) => {
    if (typeof value === 'string') return around.length ? JSON.stringify(value) : value
    if (typeof value === 'function') return `[Function ${value.name}]`
    if (value === null || typeof value !== 'object') return String(value)
    if (value instanceof Error) return `${value.name}: ${value.message}`
    if (value instanceof ArrayBuffer) return `ArrayBuffer(${value.byteLength})`
    if (value instanceof DataView) return `DataView(${value.byteLength})`
    if (ArrayBuffer.isView(value)) return `${value.constructor.name} [${Array.prototype.join.call(value)}]`
    if (value instanceof Date) return attempt(() => value.toISOString(), 'Invalid Date')
    if (value instanceof RegExp) return String(value)
    if (value instanceof Promise) return 'Promise'
    if (around.includes(value)) return '[Circular]'
    const inner = [...around, value]
    if (Array.isArray(value)) return `[${value.map(one => show(one, inner)).join()}]`
    if (value instanceof Map) return `Map ${show([...value], around)}`
    if (value instanceof Set) return `Set ${show([...value], around)}`
    return `{${Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}:${show(one, inner)}`).join()}}`
  }
  const safe = value => attempt(() => show(value), '[unreadable]')
  $border.show = safe

  const place = (mark, value) => {
    if (mark === 'c') return ''
    if (mark === 'd' || mark === 'i') return String(attempt(() => parseInt(value, 10), NaN))
    if (mark === 'f') return String(attempt(() => parseFloat(value), NaN))
    return mark === 's' ? safe(value) : attempt(() => show(value, typeof value === 'string' ? [null] : []), '[unreadable]')
  }
  const format = (first, ...rest) => {
    if (typeof first !== 'string') return [first, ...rest].map(safe).join(' ')
    const text = first.replace(/%([%csdifoOj])/g, (found, mark) =>
      mark === '%' && rest.length ? '%' : mark === '%' || !rest.length ? found : place(mark, rest.shift()))
    return [text, ...rest.map(safe)].join(' ')
  }
  let depth = 0
  const write = (level, ...values) => {
    host('console', level, '  '.repeat(depth) + (values.length ? format(...values) : ''))
  }
  const counts = new Map()
  const starts = new Map()
  const elapsed = label => `${label}: ${Date.now() - (starts.get(label) ?? Date.now())} ms`

  const console = {}
  for (const level of ['debug', 'log', 'info', 'warn', 'error'])
    console[level] = (...values) => write(level, ...values)
  globalThis.console = Object.assign(console, {
    trace: (...values) => write('debug', ...values),
    dir: value => write('log', value),
    dirxml: (...values) => write('log', ...values),
    table: value => write('log', value),
    assert: (condition, ...values) => { if (!condition) write('error', 'Assertion failed:', ...values) },
    count: (label = 'default') => {
      counts.set(label, (counts.get(label) ?? 0) + 1)
      write('info', `${label}: ${counts.get(label)}`)
    },
    countReset: (label = 'default') => { counts.delete(label) },
    time: (label = 'default') => { starts.set(label, Date.now()) },
    timeLog: (label = 'default', ...values) => write('info', elapsed(label), ...values),
    timeEnd: (label = 'default') => { write('info', elapsed(label)); starts.delete(label) },
    group: (...values) => { write('log', ...values); depth++ },
    groupEnd: () => { depth = Math.max(0, depth - 1) }
  })
  console.groupCollapsed = console.group
}
