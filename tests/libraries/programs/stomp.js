const { Client } = require('./library')
const WxWebSocket = require('./web_socket')

const client = () => {
  const made = new Client({
    webSocketFactory: () => new WxWebSocket('wss://server.example.com/stomp', ['v12.stomp', 'v11.stomp', 'v10.stomp']),
    reconnectDelay: 100,
    heartbeatIncoming: 500,
    heartbeatOutgoing: 500
  })
  made.onStompError = frame => console.error(frame.headers.message)
  return made
}
// The broker sends a message to all but its sender.
const listener = client()
const speaker = client()
let connects = 0

listener.onConnect = frame => {
  connects++
  console.log(connects === 1 ? `connected ${frame.headers.version}` : 'connected again')
  listener.subscribe('/topic/echo', message => {
    console.log(`message ${message.body}`)
    if (connects === 1) return setTimeout(() => listener.forceDisconnect(), 1500)
    listener.deactivate()
    speaker.deactivate()
  })
  if (connects === 1) speaker.activate()
  else setTimeout(() => speaker.publish({ destination: '/topic/echo', body: 'again' }), 200)
}
speaker.onConnect = () => speaker.publish({ destination: '/topic/echo', body: 'text' })
listener.activate()
