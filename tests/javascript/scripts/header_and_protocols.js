const task = qq.connectSocket({
  url: 'test.php',
  header: {
    'content-type': 'application/json',
    Referer: 'https://not.allowed.test'
  },
  protocols: ['protocol1'],
  method: 'GET',
  success: res => console.log(res.errMsg, res.socketTaskId)
})
console.log('returned', task.readyState === task.CONNECTING)
task.onOpen(res => {
  console.log(res.header['Sec-WebSocket-Protocol'], task.readyState)
  task.close({ code: 4000, reason: '再见' })
})
task.onClose(res => console.log(res, task.readyState))
