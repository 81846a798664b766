const { Realtime, TextMessage, Event } = require('./library')

const realtime = new Realtime({ appId: 'program', appKey: 'key', RTMServers: 'wss://server.example.com', server: { api: 'api.example.com' } })

async function main () {
  const client = await realtime.createIMClient('Tom')
  console.log(`opened ${client.id}`)
  const received = () => new Promise(resolve => client.once(Event.MESSAGE, message => resolve(message.text)))
  const conversation = await client.createConversation({ members: ['Jerry'], name: 'pair' })
  console.log(`started ${conversation.id}`)
  let text = received()
  const message = await conversation.send(new TextMessage('文字'))
  console.log(`sent ${message.id}`)
  console.log(`received ${await text}`)
  const again = new Promise(resolve => client.once(Event.RECONNECT, resolve))
  text = received()
  await conversation.send(new TextMessage('drop'))
  console.log(`received ${await text}`)
  await again
  console.log('opened again')
  await client.close()
}
main()
