// WebSocket as browsers have it, for libraries that take such a class: as mini programs write it.
class WxWebSocket {
  constructor (url, protocols) {
    const names = typeof protocols === 'string' ? [protocols] : protocols || []
    this.url = url
    this.readyState = WxWebSocket.CONNECTING
    this.binaryType = 'arraybuffer'
    this.bufferedAmount = 0
    this.task = wx.connectSocket({ url, protocols: names, fail: res => this.lose(res.errMsg) })
    this.task.onOpen(res => {
      this.readyState = WxWebSocket.OPEN
      const chosen = Object.keys(res.header).find(name => name.toLowerCase() === 'sec-websocket-protocol')
      this.protocol = chosen ? res.header[chosen] : ''
      if (this.onopen) this.onopen({ type: 'open', target: this })
    })
    this.task.onMessage(res => { if (this.onmessage) this.onmessage({ type: 'message', data: res.data, target: this }) })
    this.task.onError(res => { if (this.onerror) this.onerror({ type: 'error', message: res.errMsg, target: this }) })
    this.task.onClose(res => {
      this.readyState = WxWebSocket.CLOSED
      if (this.onclose) this.onclose({ type: 'close', wasClean: res.code !== 1006, target: this, ...res })
    })
  }
  lose (message) {
    this.readyState = WxWebSocket.CLOSED
    if (this.onerror) this.onerror({ type: 'error', message, target: this })
  }
  send (data) { this.task.send({ data: ArrayBuffer.isView(data) ? data.slice().buffer : data }) }
  close (code, reason) {
    this.readyState = WxWebSocket.CLOSING
    this.task.close({ code, reason })
  }
}
Object.assign(WxWebSocket, { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 })
module.exports = WxWebSocket
