// MQTT.js 5 wants what a bundler defines for it, and `forceNativeWebSocket` before it looks for `wx`.
globalThis.self = globalThis
globalThis.navigator = { language: 'zh_CN' }
globalThis.AbortController = class AbortController {}
globalThis.AbortSignal = class AbortSignal {}
const mqtt = require('./library')

const client = mqtt.connect('wxs://server.example.com/mqtt', {
  clientId: 'program', keepalive: 1, reconnectPeriod: 100, forceNativeWebSocket: true
})
const large = 'x'.repeat(100000)
let connects = 0

client.on('connect', () => {
  connects++
  console.log(connects === 1 ? 'connected' : 'connected again')
  if (connects === 1) client.subscribe(['echo/#', 'large'], { qos: 2 }, (error, granted) => {
    if (error) throw error
    console.log(`subscribed ${granted.length}`)
    client.publish('echo/0', 'at most once')
  })
  else client.publish('echo/2', 'exactly once', { qos: 2 })
})
client.on('message', (topic, payload) => {
  if (topic === 'large') {
    console.log(`large ${payload.toString() === large}`)
    return client.publish('drop', 'me')
  }
  console.log(`${topic} ${payload}`)
  if (topic === 'echo/0') client.publish('echo/1', 'at least once', { qos: 1 })
  if (topic === 'echo/1') client.publish('large', large)
  if (topic === 'echo/2') setTimeout(() => client.end(), 2500)
})
client.on('error', error => console.error(error))
