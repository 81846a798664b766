const { createClient } = require('./library')
const webSocketImpl = require('./web_socket')

let connects = 0
const client = createClient({
  url: 'wss://server.example.com/graphql', webSocketImpl, lazy: false, retryWait: async () => {},
  onNonLazyError: error => console.log(`lost: ${error.type}`),
  on: { connected: () => { connects++ } }
})
const all = query => new Promise((resolve, reject) => {
  const found = []
  client.subscribe({ query }, {
    next: ({ data, errors }) => found.push(errors ? errors[0].message : Object.values(data)[0]),
    error: reject,
    complete: () => resolve(found)
  })
})

async function main () {
  console.log(`query ${await all('{ hello }')}`)
  console.log(`subscription ${await all('subscription { count }')}`)
  await all('{ drop }')
  await new Promise(resolve => setTimeout(resolve, 500))
  console.log(`query ${await all('{ hello }')}, connection ${connects}`)
  client.dispose()
}
main()
