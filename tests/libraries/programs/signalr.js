const { HttpClient, HubConnectionBuilder, HttpTransportType, LogLevel } = require('./library')
const WebSocket = require('./web_socket')

const connection = new HubConnectionBuilder()
  .withUrl('https://server.example.com/hub', {
    skipNegotiation: true, transport: HttpTransportType.WebSockets, WebSocket, httpClient: new HttpClient()
  })
  .withAutomaticReconnect([100])
  .configureLogging(LogLevel.None)
  .build()

async function main () {
  connection.on('Said', text => console.log(`said ${text}`))
  await connection.start()
  console.log('connected')
  console.log(`result ${await connection.invoke('Echo', '文字')}`)
  await new Promise((resolve, reject) => {
    connection.stream('Count').subscribe({ next: item => console.log(`item ${item}`), complete: resolve, error: reject })
  })
  const again = new Promise(resolve => connection.onreconnected(resolve))
  connection.send('Drop')
  await again
  console.log('connected again')
  await connection.stop()
}
main()
