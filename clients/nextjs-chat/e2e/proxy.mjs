// The network between one person and the server, which can be cut.

import net from 'node:net'

export async function startProxy(port) {
  const sockets = new Set()
  let isCut = false
  const server = net.createServer((client) => {
    if (isCut) return client.destroy()
    const upstream = net.connect(port, '127.0.0.1')
    for (const [socket, other] of [[client, upstream], [upstream, client]]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
      socket.pipe(other)
    }
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cut = () => {
    isCut = true
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut,
    mend: () => (isCut = false),
    stop: () => {
      cut()
      server.close()
    },
  }
}
