const app = getApp()

Page({
  data: { prices: {} },

  onLoad () {
    app.globalData.listeners.push(({ name, price }) => this.setData({ [`prices.${name}`]: price }))
    app.socket.send({ subscribe: 'all' })
  }
})
