// A server, by its name: prints its port, and ends with its input.
'use strict'
const { createServer } = require('node:http')
const { createRequire } = require('node:module')
const installed = createRequire(`${process.cwd()}/`)
const { WebSocketServer, createWebSocketStream } = installed('ws')

const sockets = http => new WebSocketServer({ server: http })

const servers = {
  // Drops whoever publishes to "drop".
  async aedes (http) {
    const broker = await installed('aedes').Aedes.createBroker()
    const handleProtocols = protocols => protocols.values().next().value
    new WebSocketServer({ server: http, handleProtocols }).on('connection', (socket, request) => {
      broker.handle(createWebSocketStream(socket), request)
    })
    broker.on('publish', (packet, client) => { if (packet.topic === 'drop') client.conn.destroy() })
  },

  // Echoes, acknowledges, and drops whoever asks for it; pings often, so that pongs are a part of it.
  'socket.io' (http) {
    const io = new (installed('socket.io').Server)(http, { pingInterval: 300, pingTimeout: 300 })
    const serve = socket => {
      socket.on('echo', (...values) => socket.emit('echo', ...values))
      socket.on('ask', (value, answer) => answer(`${value}!`))
      socket.on('drop', () => socket.conn.transport.socket.terminate())
    }
    io.on('connection', serve)
    io.of('/room').on('connection', serve)
  },

  // Counts, and drops whoever asks for it.
  'graphql-ws' (http) {
    const { GraphQLInt, GraphQLObjectType, GraphQLSchema, GraphQLString } = installed('graphql')
    const { useServer } = installed('graphql-ws/lib/use/ws')
    const count = { type: GraphQLInt, resolve: value => value, async * subscribe () { yield * [1, 2, 3] } }
    const drop = {
      type: GraphQLString,
      resolve: (root, values, context) => { setTimeout(() => context.extra.socket.terminate(), 100) }
    }
    const hello = { type: GraphQLString, resolve: () => '你好' }
    const schema = new GraphQLSchema({
      query: new GraphQLObjectType({ name: 'Query', fields: { hello, drop } }),
      subscription: new GraphQLObjectType({ name: 'Subscription', fields: { count } })
    })
    useServer({ schema, context: context => context }, sockets(http), 200)
  },

  'stomp-broker-js' (http) {
    const Broker = installed('stomp-broker-js')
    new Broker({ server: http, path: '/stomp', heartbeat: [200, 200] })
  },

  // Speaks what LeanCloud's client does: sessions, conversations and messages, in the client's own protobuf.
  leancloud (http) {
    const { push_server: { messages2: kinds } } = installed('leancloud-realtime/proto/message-compiled.js')
    const { GenericCommand, CommandType, OpType } = kinds
    sockets(http).on('connection', socket => {
      const send = command => { socket.send(new GenericCommand(command).toBuffer()) }
      socket.on('message', data => {
        const { cmd, op, i, peerId, directMessage } = GenericCommand.decode(data)
        if (cmd === CommandType.session && op === OpType.open)
          send({ cmd, op: OpType.opened, i, peerId, sessionMessage: { st: 'token', stTtl: 3600 } })
        if (cmd === CommandType.session && op === OpType.close) send({ cmd, op: OpType.closed, i, peerId })
        if (cmd === CommandType.conv && op === OpType.start)
          send({ cmd, op: OpType.started, i, peerId, convMessage: { cid: 'conversation', cdate: new Date(0).toISOString() } })
        if (cmd === CommandType.direct) {
          send({ cmd: CommandType.ack, i, peerId, ackMessage: { uid: 'message', t: 1 } })
          const { cid, msg } = directMessage
          send({ cmd, peerId, directMessage: { cid, msg, fromPeerId: 'echo', id: 'echoed', timestamp: 2, transient: true } })
          if (msg.includes('drop')) socket.terminate()
        }
      })
    })
  },

  // Speaks SignalR's JSON protocol.
  signalr (http) {
    const end = '\x1e'
    sockets(http).on('connection', socket => {
      const send = message => socket.send(JSON.stringify(message) + end)
      setInterval(() => send({ type: 6 }), 200).unref()
      socket.on('message', data => {
        for (const text of String(data).split(end).slice(0, -1)) {
          const { protocol, type, invocationId, target, arguments: values } = JSON.parse(text)
          if (protocol) send({})
          if (type === 1 && target === 'Echo') {
            send({ type: 1, target: 'Said', arguments: values })
            send({ type: 3, invocationId, result: values[0] })
          }
          if (type === 4) for (const item of [1, 2, 3]) send({ type: 2, invocationId, item })
          if (type === 4) send({ type: 3, invocationId })
          if (type === 1 && target === 'Drop') socket.terminate()
        }
      })
    })
  }
}

const http = createServer()
Promise.resolve(servers[process.argv[2]](http)).then(() => {
  http.listen(0, '127.0.0.1', () => console.log(http.address().port))
})
process.stdin.resume().on('end', () => process.exit())
