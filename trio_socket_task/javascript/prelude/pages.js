// App and Page: each file is opened when it has run, the page as by navigateTo.
{
  const { guard, watch } = $border
  const pages = []
  let app = null
  let due = []

  const clone = value => {
    if (Array.isArray(value)) return value.map(clone)
    if (value === null || typeof value !== 'object' || Object.getPrototypeOf(value) !== Object.prototype) return value
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, clone(inner)]))
  }
  // The methods of the program are watched, so that an async one that is called and forgotten is told when it rejects.
  const instance = (config, base) => {
    const made = Object.assign(Object.create(base), config)
    for (const [name, value] of Object.entries(made))
      if (typeof value === 'function') made[name] = function (...values) { return watch(value.apply(this, values)) }
    return made
  }
  const tell = (target, name, ...values) => {
    if (typeof target[name] === 'function') guard(() => target[name](...values))
  }
  const base = {
    setData (changes, callback) {
      for (const [path, value] of Object.entries(Object(changes))) {
        const keys = path.split(/[.[\]]+/).filter(Boolean)
        const last = keys.pop()
        let place = this.data
        for (const [index, key] of keys.entries()) {
          if (place[key] === null || typeof place[key] !== 'object')
            place[key] = /^\d+$/.test(keys[index + 1] ?? last) ? [] : {}
          place = place[key]
        }
        place[last] = clone(value)
      }
      if (typeof callback === 'function') setTimeout(() => callback.call(this), 0)
    }
  }

  globalThis.App = config => {
    if (app) throw new Error('App was called before; a program has one')
    app = instance(config, {})
    due.push(() => { for (const name of ['onLaunch', 'onShow']) tell(app, name, { path: '', query: {}, scene: 1001 }) })
  }
  globalThis.Page = config => {
    const page = instance(config, base)
    page.data = clone(page.data ?? {})
    due.push(() => {
      if (pages.length) tell(pages.at(-1), 'onHide')
      pages.push(page)
      tell(page, 'onLoad', {})
      for (const name of ['onShow', 'onReady']) tell(page, name)
    })
  }
  globalThis.getApp = () => app ?? undefined
  globalThis.getCurrentPages = () => [...pages]
  $border.open = () => { for (const open of due.splice(0)) open() }
}
