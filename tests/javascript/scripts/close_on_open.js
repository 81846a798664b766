qq.connectSocket({
  url: 'test.php'
})

// Before the opening this does not achieve its purpose.
qq.closeSocket({fail: res => console.log(res.errMsg)})
qq.onSocketOpen(function () {
  qq.closeSocket()
})

qq.onSocketClose(function (res) {
  console.log('WebSocket 已关闭!', res.code)
})
