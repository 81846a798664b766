const tasks = []
for (let i = 0; i < 6; i++) {
  tasks.push(wx.connectSocket({ url: 'test.php', fail: ({ errMsg }) => console.log(i, errMsg) }))
}
let closed = 0
tasks.forEach((task, i) => {
  task.onMessage(({ data }) => {
    task.close({ success: () => { if (++closed === 5) console.log('all closed') } })
  })
  task.onOpen(() => {
    task.send({ data: `I am ${i}` })
  })
})
console.log(tasks[5].readyState)
tasks[5].send({ data: 'x', fail: res => console.log(res.errMsg) })
