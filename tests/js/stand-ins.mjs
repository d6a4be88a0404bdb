// The proxies as deploy/ sets them up, before servers that say which they are and do as they are told.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ws, { WebSocketServer } from 'ws'
import { freePort, within } from './support.mjs'

const DEPLOY = join(import.meta.dirname, '../../deploy')
export const CONFIGS = { haproxy: join(DEPLOY, 'haproxy.cfg'), nginx: join(DEPLOY, 'nginx.conf') }

/** What no log may show. */
export const KEY = 'the-key-of-a-client'

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Waits until `condition` holds. */
export async function eventually(condition, what) {
  for (const deadline = Date.now() + 15_000; !(await condition()); await sleep(20)) {
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`)
  }
}

/** Replaces what has to be there. */
export function swap(text, from, to) {
  if (!text.includes(from)) throw new Error(`no "${from}" in the configuration`)
  return text.replaceAll(from, to)
}

const commands = {
  haproxy: () => ({ arguments: ['-W', '-db', '-f'], edit: (text) => text }),
  nginx: (folder) => ({
    arguments: ['-e', 'stderr', '-g', `daemon off; pid ${folder}/pid;${process.getuid() === 0 ? ' user root;' : ''}`, '-c'],
    // Its own places belong to root.
    edit: (text) => swap(text, 'http {\n', `http {\n${
      ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((use) => `${use}_temp_path ${folder}/${use};\n`).join('')}`),
  }),
}

/** A proxy before servers on these two ports, set up by its file in deploy/, with `changes` as pairs of texts. */
export async function startProxy(t, kind, ports, changes = []) {
  const folder = await mkdtemp(join(tmpdir(), `rowcast-${kind}-`))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const { arguments: args, edit } = commands[kind](folder)
  const file = join(folder, 'configuration')
  const logFile = join(folder, 'log')
  const log = () => readFileSync(logFile, 'utf8')
  let text = edit(await readFile(CONFIGS[kind], 'utf8'))
  for (const [at, port] of ports.entries()) text = swap(text, `rowcast${at + 1}:4000`, `127.0.0.1:${port}`)
  for (const [from, to] of changes) text = swap(text, from, to)
  // Between the choice of a port and its use somebody else may take it.
  for (let tries = 3; ; tries -= 1) {
    const port = await freePort()
    const place = kind === 'nginx' ? ['listen 4000', `listen 127.0.0.1:${port}`] : ['bind :4000', `bind 127.0.0.1:${port}`]
    let placed = swap(text, ...place)
    if (kind === 'nginx') for (const inner of ['4101', '4102']) placed = swap(placed, inner, `${await freePort()}`)
    await writeFile(file, placed)
    const output = openSync(logFile, 'w')
    const child = spawn(kind, [...args, file], { stdio: ['ignore', output, output] })
    closeSync(output)
    const gone = new Promise((resolve) => child.once('close', resolve))
    child.on('error', (error) => { throw error })
    const url = `http://127.0.0.1:${port}`
    const answers = async () => child.exitCode !== null ||
      await fetch(`${url}/ready`, { signal: AbortSignal.timeout(1_000) }).then((answer) => answer.ok, () => false)
    t.after(() => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
      return within(gone, `the end of ${kind}`)
    })
    await eventually(answers, `${kind} answers:\n${log()}`)
    if (child.exitCode === null) return { url, log, reload: () => child.kill(kind === 'nginx' ? 'SIGHUP' : 'SIGUSR2') }
    if (tries === 0) throw new Error(`${kind} ended with ${child.exitCode}:\n${log()}`)
  }
}

/** Stands in for a Rowcast server: answers what it was asked, echoes what a socket says, and is ready or not. */
export async function standIn(t, name) {
  const self = { name, isReady: true, requests: [] }
  // It takes as long a head as the real one.
  const http = createServer({ maxHeaderSize: 65_536 }, async (request, response) => {
    let bytes = 0
    for await (const chunk of request) bytes += chunk.length
    if (request.url === '/ready') return response.writeHead(self.isReady ? 200 : 503).end()
    if (request.url === '/healthcheck') return response.end('ok')
    self.requests.push(request.url)
    response.end(JSON.stringify({ name, bytes }))
  })
  const sockets = new WebSocketServer({ server: http })
  sockets.on('connection', (socket, { headers }) => {
    socket.send(JSON.stringify({ name, headers }))
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  self.port = http.address().port
  // As a server that stops: it refuses connections, and tells its clients to come again.
  self.stop = () => {
    http.close()
    http.closeIdleConnections()
    for (const socket of sockets.clients) socket.close(1012)
  }
  t.after(() => {
    self.stop()
    for (const socket of sockets.clients) socket.terminate()
    http.closeAllConnections()
  })
  return self
}

/** A socket through a proxy, and what the server behind it saw. */
export async function open(t, proxy, headers = {}) {
  const url = `${proxy.url.replace('http', 'ws')}/realtime/v1/websocket?apikey=${KEY}`
  const socket = new ws(url, { headers })
  t.after(() => socket.terminate())
  const [first] = await within(once(socket, 'message'), 'the first message of a socket')
  return {
    ...JSON.parse(first),
    socket,
    async echo(data) {
      socket.send(data)
      const [answer, isBinary] = await within(once(socket, 'message'), 'an echo')
      return isBinary ? answer : answer.toString()
    },
  }
}

/** Opens sockets one after the other and tells which servers got them. */
export async function names(t, proxy, count) {
  const found = []
  for (let at = 0; at < count; at += 1) found.push((await open(t, proxy)).name)
  return found.sort().join('')
}
