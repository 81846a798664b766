// A socket that stays: it sends heartbeats, notices a server that is silent, and connects again, later each time.
const HEARTBEAT = 30000
const SILENCE = 10000
const LONGEST = 60000

class ReliableSocket {
  constructor (url, onMessage) {
    this.url = url
    this.onMessage = onMessage
    this.task = null
    this.open = false
    this.stopped = false
    this.attempts = 0
    this.queue = []
  }

  connect () {
    const task = wx.connectSocket({ url: this.url, fail: res => console.error(res.errMsg) })
    this.task = task
    task.onOpen(() => {
      console.info('connected')
      this.open = true
      this.attempts = 0
      this.queue.splice(0).forEach(data => this.send(data))
      this.beat()
    })
    task.onMessage(res => {
      clearTimeout(this.silence)
      if (res.data !== 'pong') this.onMessage(JSON.parse(res.data))
    })
    task.onError(res => console.warn(res.errMsg))
    task.onClose(res => this.lost(task, res.code))
  }

  send (data) {
    if (this.open) this.task.send({ data: JSON.stringify(data) })
    else this.queue.push(data)
  }

  close () {
    this.stopped = true
    clearInterval(this.heartbeat)
    clearTimeout(this.silence)
    clearTimeout(this.retry)
    this.task.close({ code: 1000, reason: 'bye' })
  }

  beat () {
    this.heartbeat = setInterval(() => {
      this.task.send({ data: 'ping' })
      this.silence = setTimeout(() => {
        console.warn('the server is silent')
        this.task.close({ code: 4000, reason: 'silent' })
        this.lost(this.task, 4000)
      }, SILENCE)
    }, HEARTBEAT)
  }

  lost (task, code) {
    if (task !== this.task || this.stopped) return
    this.task = null
    this.open = false
    clearInterval(this.heartbeat)
    clearTimeout(this.silence)
    const delay = Math.min(1000 * 2 ** this.attempts++, LONGEST)
    console.info(`lost with ${code}, again in ${delay} ms`)
    this.retry = setTimeout(() => this.connect(), delay)
  }
}

module.exports = { ReliableSocket }
