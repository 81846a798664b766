globalThis.uni = wx // as uni-app has it
const io = require('./library')

const socket = io('https://server.example.com', { transports: ['websocket'], reconnectionDelay: 100, forceNew: true })
let connects = 0

socket.on('connect', () => {
  connects++
  if (connects === 2) {
    console.log('connected again')
    return socket.close()
  }
  console.log('connected')
  socket.emit('echo', 'text', { nested: [1, null, true] })
})
socket.on('echo', (...values) => {
  console.log(`echo ${JSON.stringify(values)}`)
  socket.emit('ask', 'acknowledged', answer => {
    console.log(answer)
    setTimeout(() => socket.emit('drop'), 1000)
  })
})
socket.on('disconnect', reason => { if (connects === 1) console.log(`lost: ${reason}`) })
socket.on('connect_error', error => console.error(error))
