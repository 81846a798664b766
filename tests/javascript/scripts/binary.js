const task = wx.connectSocket({ url: 'test.php' })
task.onOpen(() => {
  task.send({ data: new Uint8Array([0, 1, 128, 255]).buffer })
  task.send({ data: new Uint8Array([0, 1, 2, 3]).subarray(1, 3), fail: res => console.log(res.errMsg) })
  task.send({ data: new DataView(new ArrayBuffer(2)), fail: res => console.log(res.errMsg) })
  task.send({ data: new Uint8Array([1, 2]).buffer })
  task.send({ data: 'and text with ' + String.fromCharCode(233) })
})
task.onMessage(({ data }) => {
  if (data instanceof ArrayBuffer) {
    console.log(data, Array.from(new Uint8Array(data)))
  } else {
    console.log(data)
    task.close()
  }
})
