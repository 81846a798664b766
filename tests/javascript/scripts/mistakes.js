const show = res => console.log(res.errMsg)
wx.connectSocket({ url: 'test.php?relative', fail: show, complete: show })
wx.connectSocket({ fail: show })
wx.connectSocket()
const circular = { url: () => 1, fail: show }
circular.self = circular
circular.code = 10n
wx.connectSocket(circular)
wx.connectSocket(Object.create({ url: 'inherited.php', fail: show }))
wx.connectSocket({ get url() { throw new Error('hostile') }, fail: show, complete: goOn })

function goOn() {
  const task = wx.connectSocket({ url: 'test.php', success: 'no function' })
  task.send({ data: 'too early', fail: show })
  task.onOpen('no function')
  task.onOpen(() => { throw new TypeError('a bug of the script') })
  task.onOpen(() => {
    task.send({ data: { not: 'a message' }, fail: show })
    task.close({ code: 1001, fail: show })
    task.close({ code: 1000.5, fail: show })
    task.send({ data: new Date(0), fail: show })
    task.close({ reason: '汉'.repeat(42), fail: show })
    Promise.resolve('settled').then(value => { console.log(value); task.close() })
  })
  task.onClose(res => console.log(res.code, typeof res.reason, undefined, null))
}
