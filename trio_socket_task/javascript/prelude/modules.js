// CommonJS: `require` of files in the program's folder.
{
  const border = $border
  const { describe, guard, host, turns } = border
  const indirectEval = eval
  const modules = new Map()

  // Compiling runs nothing of the file. The lines before it make its line numbers unlike those of all other files.
  const compile = ({ source, line }) => indirectEval(
    '\n'.repeat(line - 2) + '(function (exports, require, module, __filename, __dirname) {\n' + source + '\n})'
  )
  const folder = path => path.replace(/[\\/][^\\/]*$/, '')
  const execute = (path, f) => {
    const module = { id: path, filename: path, exports: {}, loaded: false }
    const require = name => load(host('resolve', path, String(name)))
    modules.set(path, module)
    try {
      f.call(module.exports, module.exports, Object.assign(require, { cache: {} }), module, path, folder(path))
    } catch (error) {
      modules.delete(path)
      throw error
    }
    module.loaded = true
    return module.exports
  }
  const load = path => {
    if (modules.has(path)) return modules.get(path).exports
    const file = host('read', path)
    if (!path.endsWith('.json')) return execute(path, compile(file))
    return execute(path, (exports, require, module) => {
      try { module.exports = JSON.parse(file.source) } catch (error) {
        throw new SyntaxError(`${file.name} is no JSON: ${error.message}`)
      }
    })
  }

  // Gives what is wrong with the file itself; what it throws when it runs is told.
  turns.run = file => {
    let compiled
    try { compiled = compile(file) } catch (error) { return describe(error) }
    guard(() => { execute(file.path, compiled) })
    border.open()
    return null
  }
  turns.evaluate = (source, line) => {
    try {
      return ['value', indirectEval('\n'.repeat(line - 1) + source)]
    } catch (error) { return ['error', ...describe(error)] }
  }
}
