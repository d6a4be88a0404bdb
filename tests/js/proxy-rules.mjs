// What the proxies of deploy/ do when servers come and go. Run by tests/proxy.sh.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { describe, test } from 'node:test'
import { CONFIGS, eventually, KEY, names, open, sleep, standIn, startProxy } from './stand-ins.mjs'

/** Two stand-ins behind a proxy. */
async function pair(t, kind, changes) {
  const servers = [await standIn(t, 'a'), await standIn(t, 'b')]
  const proxy = await startProxy(t, kind, servers.map((server) => server.port), changes)
  return { proxy, a: servers[0], b: servers[1] }
}

for (const kind of Object.keys(CONFIGS)) {
  describe(kind, { concurrency: true }, () => {
    test('the server is told the host and the client', async (t) => {
      const { proxy } = await pair(t, kind)
      const direct = await open(t, proxy, { host: 'acme.example.com:4000' })
      assert.equal(direct.headers.host, 'acme.example.com:4000')
      assert.equal(direct.headers['x-forwarded-for'], '127.0.0.1')
      assert.equal(direct.headers['x-forwarded-host'], 'acme.example.com:4000')
      assert.equal(direct.headers['x-forwarded-proto'], 'http')

      const said = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'acme.example.com', 'x-forwarded-for': '192.0.2.7' }
      const { headers } = await open(t, proxy, said)
      assert.equal(headers['x-forwarded-proto'], 'https')
      assert.equal(headers['x-forwarded-host'], 'acme.example.com')
      assert.equal(headers['x-forwarded-for'], '192.0.2.7, 127.0.0.1')
    })

    test('the server with the fewest sockets gets the next', async (t) => {
      const { proxy } = await pair(t, kind)
      const sockets = []
      for (let at = 0; at < 6; at += 1) sockets.push(await open(t, proxy))
      const ofA = sockets.filter(({ name }) => name === 'a')
      assert.equal(ofA.length, 3)
      for (const { socket } of ofA) {
        socket.close()
        await once(socket, 'close')
      }
      // The proxy hears of it a moment later.
      await sleep(200)
      assert.equal(await names(t, proxy, 3), 'aaa')
    })

    test('a server that has stopped is passed by at once', async (t) => {
      const { proxy, a } = await pair(t, kind)
      await names(t, proxy, 2)
      a.stop()
      assert.equal(await names(t, proxy, 6), 'bbbbbb')
      const answer = await fetch(`${proxy.url}/api/broadcast`, { method: 'POST', body: '{}' })
      assert.equal((await answer.json()).name, 'b')
    })

    test('when no server is ready, those that live are used', async (t) => {
      const { proxy, a, b } = await pair(t, kind)
      a.isReady = false
      b.isReady = false
      if (kind === 'haproxy') await eventually(() => proxy.log().includes('backend rowcast has no server'), 'it knows')
      assert.equal(await names(t, proxy, 4), 'aabb')
      a.isReady = true
      await eventually(async () => (await names(t, proxy, 4)) === 'aaaa', 'the one that is ready gets all')
    })

    test('a reload of the proxy keeps open sockets', async (t) => {
      const { proxy } = await pair(t, kind)
      const before = await open(t, proxy)
      proxy.reload()
      await sleep(500)
      assert.match(await names(t, proxy, 1), /a|b/)
      assert.equal(await before.echo('still here'), 'still here')
    })

    test('what is about one server is not passed on', async (t) => {
      const { proxy, a, b } = await pair(t, kind)
      for (const path of ['/metrics', '/api/tenants', '/api/tenants/acme/health']) {
        assert.equal((await fetch(proxy.url + path)).status, 404)
      }
      assert.deepEqual([...a.requests, ...b.requests], [])
    })

    test('no key is in the log, also when every server is gone', async (t) => {
      const { proxy, a, b } = await pair(t, kind)
      const { socket } = await open(t, proxy)
      socket.close()
      a.stop()
      b.stop()
      const answer = await fetch(`${proxy.url}/realtime/v1/api/ping?apikey=${KEY}`)
      assert.ok([502, 503].includes(answer.status), `${answer.status}`)
      await assert.rejects(open(t, proxy))
      await eventually(() => ['websocket', 'ping'].every((end) => proxy.log().includes(end)), 'they are in the log')
      assert.ok(!proxy.log().includes(KEY), proxy.log())
    })
  })
}

test('a quiet socket outlives the time that haproxy gives to requests', async (t) => {
  const { proxy } = await pair(t, 'haproxy', [['timeout client 75s', 'timeout client 1s'], ['timeout server 75s', 'timeout server 1s']])
  const quiet = await open(t, proxy)
  await sleep(2_500)
  assert.equal(await quiet.echo('still here'), 'still here')
})

test('a quiet socket is for the server to close', async () => {
  const settings = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8')
  const idle = Number(/`ROWCAST_SOCKET_IDLE_MS` \| `(\d+)`/.exec(settings)[1]) / 1_000
  for (const [kind, name] of [['haproxy', 'timeout tunnel'], ['nginx', 'proxy_read_timeout'], ['nginx', 'proxy_send_timeout']]) {
    const seconds = new RegExp(`${name} (\\d+)s`).exec(await readFile(CONFIGS[kind], 'utf8'))?.[1]
    assert.ok(Number(seconds) > idle, `${kind}: ${name} is ${seconds}`)
  }
})
