// What the tests share: clients of the real library, SQL, and waiting without sleeping.
import { spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createClient } from '@supabase/supabase-js'
import pg from 'pg'
import ws from 'ws'

const { TEST_URL, TEST_DB, TEST_SECRET, TEST_ANON_KEY, TEST_BIN } = process.env
if (!TEST_URL) throw new Error('run this with tests/with-server')

export const VERSIONS = ['1.0.0', '2.0.0']

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A token with these claims, for an hour unless `exp` says otherwise. */
export function jwt(claims) {
  const body = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ exp: Math.floor(Date.now() / 1000) + 3600, ...claims })}`
  return `${body}.${createHmac('sha256', TEST_SECRET).update(body).digest('base64url')}`
}

/** supabase-js, `using` the `createClient` of another version if so, disconnected when the test `t` ends. */
export function connect(t, { vsn = '2.0.0', url = TEST_URL, key = TEST_ANON_KEY, using = createClient, ...realtime } = {}) {
  const client = using(url, key, {
    auth: { persistSession: false, autoRefreshToken: false },
    realtime: { transport: ws, vsn, ...realtime },
  })
  t.after(async () => {
    await client.removeAllChannels()
    await client.realtime.disconnect()
  })
  return client
}

/** Subscribes and resolves when the channel is joined, and its changes are live if it has any. */
export function subscribe(channel, { changes = false } = {}) {
  return within(new Promise((resolve, reject) => {
    const wanted = new Set(changes ? ['SUBSCRIBED', 'Subscribed to PostgreSQL'] : ['SUBSCRIBED'])
    const got = (what) => { if (wanted.delete(what) && wanted.size === 0) resolve() }
    channel.on('system', {}, ({ status, message }) => {
      if (status === 'ok') got(message)
      else reject(new Error(message))
    })
    channel.subscribe((status, error) => {
      if (status === 'SUBSCRIBED') got(status)
      else reject(new Error(`${status}: ${error?.message}`))
    })
  }), 'subscribed')
}

/** A queue that tests read from: what arrives before anybody waits is kept. */
export class Inbox {
  #items = []
  #waiting = []

  push = (item) => {
    const next = this.#waiting.shift()
    if (next) next(item)
    else this.#items.push(item)
  }

  next(what = 'the next message') {
    if (this.#items.length) return Promise.resolve(this.#items.shift())
    return within(new Promise((resolve) => this.#waiting.push(resolve)), what)
  }

  get unread() { return this.#items.length }
}

/** Fails when `promise` takes longer than anything may. */
export async function within(promise, what) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`never happened: ${what}`)), 30_000)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** A superuser of a database; closed when the test ends. */
export async function database(t, url = TEST_DB) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  t.after(() => client.end())
  return client
}

let made = 0

/** A published table of this test alone: `id`, `owner`, `body`. */
export async function table(sql) {
  const name = `js_${process.pid}_${made++}`
  await sql.query(`create table ${name} (id int primary key, owner text, body jsonb);
    grant select on ${name} to anon, authenticated;
    alter publication supabase_realtime add table ${name}`)
  return name
}

/** A server of its own, on a database of its own, that can be killed and started again. */
export async function server(t) {
  const name = `js_${process.pid}_${made++}`
  const admin = await database(t)
  await admin.query(`create database ${name}`)
  const db = new URL(TEST_DB)
  db.pathname = `/${name}`
  const inside = await database(t, db.href)
  await inside.query('create publication supabase_realtime')
  const port = await freePort()
  let child
  const self = {
    url: `http://127.0.0.1:${port}`,
    db: db.href,
    async start() {
      let log = ''
      child = spawn(TEST_BIN, ['serve'], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          PORT: `${port}`, ROWCAST_BIND: '127.0.0.1', DATABASE_URL: db.href, API_JWT_SECRET: TEST_SECRET,
          ROWCAST_SLOT_NAME: name, ROWCAST_CREATE_ROLES: 'true',
        },
      })
      for (const output of [child.stdout, child.stderr]) output.on('data', (text) => { log += text })
      for (const deadline = Date.now() + 30_000; ;) {
        const answer = await fetch(`${self.url}/healthcheck`, { signal: AbortSignal.timeout(5_000) }).catch(() => null)
        if (answer?.ok) return
        if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}:\n${log}`)
        if (Date.now() > deadline) throw new Error(`the server never got healthy:\n${log}`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    },
    async stop(signal = 'SIGTERM') {
      if (!child) return
      if (child.exitCode === null && child.signalCode === null) {
        const gone = once(child, 'exit')
        child.kill(signal)
        await within(gone, `the end of the server by ${signal}`)
      }
      child = undefined
    },
  }
  t.after(() => self.stop('SIGKILL'))
  await self.start()
  return self
}

/** A port that nobody listens on now. */
export async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address()
  listener.close()
  await once(listener, 'close')
  return port
}
