// One address for two servers, so that neighbours in a scenario are never on the same one.
//
//     node split.mjs URL OTHER        prints its own address and serves until it is stopped
//
// Sockets go to the two in turn. Requests go to the second; those of the admin API to the first, so
// that the other one has to hear of them.
import { connect, createServer } from 'node:net'

const servers = process.argv.slice(2).map((url) => new URL(url))
let sockets = 0

/** The head of a request with `Connection: close`, so that each request has a connection of its own. */
const closing = (head) => head.replace(/\r\nconnection:[^\r]*/i, '') + '\r\nConnection: close'

const serve = (client) => {
  let waiting = Buffer.alloc(0)
  client.on('error', () => client.destroy())
  client.on('data', function begin(bytes) {
    waiting = Buffer.concat([waiting, bytes])
    const end = waiting.indexOf('\r\n\r\n')
    if (end < 0) return
    client.off('data', begin)
    client.pause()
    const head = waiting.subarray(0, end).toString('latin1')
    const isSocket = /\r\nupgrade: *websocket/i.test(head)
    const isAdmin = / \/api\/tenants/.test(head.split('\r\n')[0])
    const start = Buffer.concat([Buffer.from(isSocket ? head : closing(head), 'latin1'), waiting.subarray(end)])
    const answers = isSocket ? servers[sockets++ % 2] : isAdmin ? servers[0] : servers[1]
    const upstream = connect(answers.port, answers.hostname)
    upstream.on('error', () => client.destroy())
    upstream.write(start)
    client.pipe(upstream)
    upstream.pipe(client)
    upstream.on('close', () => client.destroy())
    client.on('close', () => upstream.destroy())
    client.resume()
  })
}

const server = createServer(serve)
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
