// Clients behind the proxies of deploy/. Run by tests/proxy.sh.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import { test } from 'node:test'
import ws from 'ws'
import { jwt, within } from './support.mjs'

const { TEST_URL, TEST_URL_OTHER, TEST_REDIS, TEST_SERVICE_KEY, TEST_ANON_KEY, SIGN_IN, PROXIES } = process.env
const proxies = PROXIES.trim().split(' ').map((pair) => pair.split('='))
// The servers are strict about it.
const HOST = 'realtime-dev.example.com'

/** A request with that Host, which `fetch` cannot name. */
async function ask(url, { host = HOST, method = 'GET', headers = {}, body } = {}) {
  const request = http.request(url, { method, headers: { ...headers, host }, agent: false })
  request.end(body)
  const [response] = await within(once(request, 'response'), `an answer of ${url}`)
  let text = ''
  for await (const part of response.setEncoding('utf8')) text += part
  return { status: response.statusCode, text }
}

/** Sockets that each server has. */
async function sockets(server) {
  const { text } = await ask(`${server}/metrics`, { headers: { authorization: `Bearer ${TEST_SERVICE_KEY}` } })
  return Number(/^realtime_connections_connected\S* (\d+)/m.exec(text)?.[1] ?? 0)
}

/** Tries until `check` no longer throws. */
function eventually(what, check) {
  return within((async () => {
    for (;;) {
      try {
        return await check()
      } catch (error) {
        if (!(error instanceof assert.AssertionError)) throw error
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  })(), what)
}

/** A socket that speaks the protocol's second version. */
class Socket {
  #replies = new Map()
  #ref = 0
  heard = []

  static async open(proxy, { key = TEST_ANON_KEY, host = HOST } = {}) {
    const address = `${proxy.replace('http', 'ws')}/realtime/v1/websocket?vsn=2.0.0&apikey=${key}`
    const self = new Socket()
    self.ws = new ws(address, { headers: { host } })
    self.ws.on('message', (data) => {
      const [, ref, , event, payload] = JSON.parse(data)
      if (event === 'phx_reply') this.#take(self, ref, payload)
      else self.heard.push({ event, payload })
    })
    await within(once(self.ws, 'open'), 'an open socket')
    return self
  }

  static #take(self, ref, payload) {
    self.#replies.get(ref)?.(payload)
    self.#replies.delete(ref)
  }

  /** Sends and gives what the server replies. */
  ask(topic, event, payload = {}) {
    const ref = `${++this.#ref}`
    const reply = new Promise((resolve) => this.#replies.set(ref, resolve))
    this.ws.send(JSON.stringify(['1', ref, topic, event, payload]))
    return within(reply, `the reply to ${event}`)
  }

  async join(topic, token) {
    const { status } = await this.ask(topic, 'phx_join', { config: { broadcast: { ack: true } }, access_token: token })
    assert.equal(status, 'ok')
  }

  async beat() {
    assert.equal((await this.ask('phoenix', 'heartbeat')).status, 'ok')
  }

  async close() {
    if (this.ws.readyState === ws.CLOSED) return
    const closed = once(this.ws, 'close')
    this.ws.close()
    await within(closed, 'a closed socket')
  }
}

/** How many of `count` new sockets came to each server. */
async function spread(proxy, count) {
  const before = [await sockets(TEST_URL), await sockets(TEST_URL_OTHER)]
  const opened = []
  for (let i = 0; i < count; i++) opened.push(await Socket.open(proxy))
  const after = [await sockets(TEST_URL), await sockets(TEST_URL_OTHER)]
  for (const socket of opened) await socket.close()
  await eventually('the servers forget closed sockets', async () => {
    assert.deepEqual([await sockets(TEST_URL), await sockets(TEST_URL_OTHER)], before)
  })
  return after.map((now, at) => now - before[at])
}

const redis = (...words) => execFileSync('redis-cli', ['-u', TEST_REDIS, ...words])

for (const [name, proxy] of proxies) {
  test(`${name} passes sockets on to both servers`, async () => {
    const [one, other] = await spread(proxy, 4)
    assert.ok(one > 0 && other > 0 && one + other === 4, `${one} and ${other}`)
  })

  test(`${name}: what one client says all others hear`, async () => {
    const topic = `realtime:${name}`
    const clients = await Promise.all([1, 2, 3, 4].map(() => Socket.open(proxy)))
    for (const client of clients) await client.join(topic)
    const message = { type: 'broadcast', event: 'hello', payload: { from: name } }
    assert.equal((await clients[0].ask(topic, 'broadcast', message)).status, 'ok')
    for (const client of clients.slice(1)) {
      await eventually('the broadcast', () => assert.ok(client.heard.some(({ event }) => event === 'broadcast')))
    }
    for (const client of clients) await client.close()
  })

  test(`${name} keeps the host, which names the tenant`, async () => {
    assert.equal((await ask(`${proxy}/api/ping`)).status, 200)
    assert.equal((await ask(`${proxy}/api/ping`, { host: 'nobody.example.com' })).status, 401)
    await assert.rejects(Socket.open(proxy, { host: 'nobody.example.com' }), /Unexpected server response/)
  })

  test(`${name} takes large bodies and long keys`, async () => {
    const message = { topic: 'large', event: 'e', payload: { text: 'x'.repeat(2_000_000) } }
    const headers = { 'content-type': 'application/json', apikey: TEST_ANON_KEY }
    const body = JSON.stringify({ messages: [message] })
    assert.equal((await ask(`${proxy}/api/broadcast`, { method: 'POST', headers, body })).status, 202)
    const socket = await Socket.open(proxy, { key: jwt({ role: 'anon', more: 'x'.repeat(40_000) }) })
    await socket.beat()
    await socket.close()
  })
}

test('the address that sign-in prints signs in', async () => {
  const given = new URLSearchParams(new URL(SIGN_IN).hash.slice(1))
  const socket = await Socket.open(proxies[0][1], { key: given.get('key') })
  await socket.join('realtime:signed-in', given.get('token'))
  await socket.close()
})

test('a server that is not ready gets no new sockets and keeps those it has', async () => {
  const held = []
  for (const [, proxy] of proxies) for (let i = 0; i < 4; i++) held.push(await Socket.open(proxy))
  const kept = await sockets(TEST_URL_OTHER)
  assert.ok(kept > 0)

  redis('acl', 'setuser', 'other', 'off')
  redis('client', 'kill', 'user', 'other')
  await eventually('the other server is cut off', async () => {
    assert.equal((await ask(`${TEST_URL_OTHER}/ready`)).status, 503)
  })
  for (const [name, proxy] of proxies) {
    await eventually(`${name} avoids it`, async () => assert.deepEqual(await spread(proxy, 4), [4, 0]))
    assert.deepEqual(await spread(proxy, 4), [4, 0])
  }
  assert.equal(await sockets(TEST_URL_OTHER), kept)
  for (const socket of held) await socket.beat()

  redis('acl', 'setuser', 'other', 'on')
  await eventually('the other server is back', async () => {
    assert.equal((await ask(`${TEST_URL_OTHER}/ready`)).status, 200)
  })
  for (const [name, proxy] of proxies) {
    await eventually(`${name} uses it again`, async () => assert.ok((await spread(proxy, 4))[1] > 0))
  }
  for (const socket of held) await socket.close()
})
