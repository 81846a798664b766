const { ReliableSocket } = require('./utils/socket.js')

App({
  globalData: { listeners: [] },

  onLaunch () {
    this.socket = new ReliableSocket('wss://api.example.com/prices', message => {
      this.globalData.listeners.forEach(listener => listener(message))
    })
    this.socket.connect()
  }
})
