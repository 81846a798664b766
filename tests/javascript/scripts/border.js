// What a script may pass and print, at its strangest.
const show = res => console.log(res.errMsg)
const hostile = name => ({ url: 'test.php', get [name]() { throw new Error('hostile') }, fail: show, complete: () => {} })
wx.connectSocket(hostile('header'))
wx.connectSocket(hostile('protocols'))
wx.connectSocket(hostile('timeout'))
wx.connectSocket({ url: 'test.php', header: new Proxy({}, { ownKeys() { throw new Error('hostile') } }), fail: show })
wx.connectSocket({ url: Symbol('no'), fail: show })
class Header { constructor() { this.token = 'own' } }

console.log(NaN, -Infinity, 10n, Symbol('s'), undefined, null, true, function named() {})
console.log({ data: new Uint8Array([1, 2]).buffer, list: [new Uint8Array([3]), 'text'], not: undefined })
console.log(new TypeError('words'), 'a\0b', 'half \ud83d')
const circle = { name: 'circle' }
circle.self = circle
console.log(circle, { get bad() { throw new Error('hostile') } })

const task = wx.connectSocket({ url: 'test.php', header: new Header() })
task.onOpen(async () => { throw new Error('a bug in an async listener') })
task.onOpen(async () => {
  task.send({ data: ['binary', 'abc'], fail: show })
  task.send({ data: { $binary: '汉' }, fail: show })
  task.close(Object.defineProperty({ fail: show }, 'code', { get() { throw new Error('hostile') } }))
  const answer = new Promise(resolve => task.onMessage(({ data }) => resolve(data)))
  console.log(await wx.sendSocketMessage({ data: 'awaited' }))
  console.log(await answer)
  try { await wx.closeSocket({ code: 1001 }) } catch (error) { console.log('rejected', error) }
  await wx.closeSocket()
})
task.onClose(res => console.log(res))
