let socketOpen = false
let socketMsgQueue = []
wx.connectSocket({
  url: 'test.php'
})

wx.onSocketOpen(function(res) {
  socketOpen = true
  for (let i = 0; i < socketMsgQueue.length; i++){
    sendSocketMessage(socketMsgQueue[i])
  }
  socketMsgQueue = []
})

function sendSocketMessage(msg) {
  if (socketOpen) {
    wx.sendSocketMessage({
      data:msg
    })
  } else {
    socketMsgQueue.push(msg)
  }
}

sendSocketMessage('first')
sendSocketMessage('second')
let answers = 0
wx.onSocketMessage(res => {
  console.log('answer', res.data)
  if (++answers === 2) wx.closeSocket({complete: res => console.log(res)})
})
wx.onSocketClose(res => console.log('closed', res))
console.log('waiting', socketMsgQueue)
