// What a second server costs: the hop between servers, CPU for a delivery across it, takeover, healing.
//
//     TEST_BIN=target/release/rowcast tests/cluster.sh node tests/js/cluster-figures.mjs
//
// Prints one JSON line for each figure. Latencies are medians of messages one after the other, so
// what is common to both ways cancels out in the difference.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import pg from 'pg'
import ws from 'ws'

const { TEST_URL, TEST_URL_OTHER, TEST_DB, TEST_REDIS, TEST_ANON_KEY, TEST_PID, TEST_PID_OTHER } = process.env
if (!TEST_URL_OTHER) throw new Error('run this with tests/cluster.sh')

const redis = (...words) => execFileSync('redis-cli', ['-u', TEST_REDIS, ...words], { encoding: 'utf8' })
const redisPid = Number(/process_id:(\d+)/.exec(redis('info', 'server'))[1])
const print = (figure, value) => console.log(JSON.stringify({ figure, ...value }))
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const quantile = (sorted, q) => Number(sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))].toFixed(3))
const summary = (times) => {
  const sorted = [...times].sort((a, b) => a - b)
  return { p50_ms: quantile(sorted, 0.5), p99_ms: quantile(sorted, 0.99) }
}
/** CPU of a process in microseconds; a tick of the kernel is 10 ms. */
const cpu = (pid) => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /, '').split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}

/** A socket that has joined a topic. */
async function join(url, topic, config = {}) {
  const socket = new ws(`${url.replace('http', 'ws')}/socket/websocket?vsn=2.0.0&apikey=${TEST_ANON_KEY}`)
  await once(socket, 'open')
  const waiting = []
  let heard = () => {}
  socket.on('message', (data) => {
    const frame = JSON.parse(data.toString())
    waiting.splice(0).forEach((wake) => wake(frame))
    heard(frame)
  })
  const until = async (fits) => {
    for (;;) {
      const frame = await new Promise((resolve) => waiting.push(resolve))
      if (fits(frame)) return frame
    }
  }
  const push = (event, payload) => socket.send(JSON.stringify(['1', '2', `realtime:${topic}`, event, payload]))
  const joined = until((frame) => frame[3] === 'phx_reply')
  push('phx_join', { config })
  const reply = await joined
  if (reply[4].status !== 'ok') throw new Error(JSON.stringify(reply))
  if (config.postgres_changes) await until((frame) => frame[3] === 'system')
  return { socket, push, until, onFrame: (f) => { heard = f } }
}

const message = (n) => ({ type: 'broadcast', event: 'e', payload: { n, text: 'x'.repeat(200) } })

async function broadcastLatency(sender, receiver, count) {
  const times = []
  for (let n = 0; n < count; n++) {
    const came = receiver.until((frame) => frame[3] === 'broadcast' && frame[4].payload.n === n)
    const begun = performance.now()
    sender.push('broadcast', message(n))
    await came
    times.push(performance.now() - begun)
  }
  return summary(times)
}

async function hop() {
  const [sender, here, there] = [await join(TEST_URL, 'hop'), await join(TEST_URL, 'hop'), await join(TEST_URL_OTHER, 'hop')]
  await sleep(500)
  await broadcastLatency(sender, here, 300)
  print('broadcast, same server', await broadcastLatency(sender, here, 3000))
  print('broadcast, other server', await broadcastLatency(sender, there, 3000))
  // What Redis alone takes for the half that goes in.
  const csv = execFileSync('redis-benchmark', ['-u', TEST_REDIS, '-c', '1', '-n', '20000', '--csv', 'PUBLISH', 'floor', 'x'.repeat(300)], { encoding: 'utf8' })
  const [, , , , p50, , p99] = csv.trim().split('\n').at(-1).slice(1, -1).split('","').slice(-8)
  print('PUBLISH alone, redis-benchmark', { p50_ms: Number(p50), p99_ms: Number(p99) })
  for (const { socket } of [sender, here, there]) socket.close()
}

async function across() {
  const receivers = await Promise.all(Array.from({ length: 20 }, () => join(TEST_URL_OTHER, 'load')))
  const sender = await join(TEST_URL, 'load')
  await sleep(500)
  let came = 0
  for (const receiver of receivers) receiver.onFrame((frame) => { came += frame[3] === 'broadcast' })
  const pids = { sender: TEST_PID, receiver: TEST_PID_OTHER, redis: redisPid }
  const before = Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, cpu(pid)]))
  const messages = 20_000
  for (let n = 0; n < messages; n++) {
    sender.push('broadcast', message(n))
    if (n % 20 === 19) await sleep(10)
  }
  const until = Date.now() + 20_000
  while (came < messages * receivers.length && Date.now() < until) await sleep(20)
  await sleep(300)
  const used = Object.fromEntries(Object.entries(pids).map(([name, pid]) => [`${name}_us_per_message`, (cpu(pid) - before[name]) / messages]))
  print('20,000 messages at 2,000/s to 20 clients on the other server', { lost: messages * receivers.length - came, ...used })
  for (const { socket } of [sender, ...receivers]) socket.close()
}

async function changes() {
  const db = new pg.Client({ connectionString: TEST_DB })
  await db.connect()
  await db.query('create table if not exists hop (n bigint primary key); grant select on hop to anon')
  await db.query('alter publication supabase_realtime add table hop').catch(() => {})
  const config = { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 'hop' }] }
  const [one, other] = [await join(TEST_URL, 'changes', config), await join(TEST_URL_OTHER, 'changes', config)]
  let n = 0
  const row = async (client) => {
    n += 1
    const came = client.until((frame) => frame[3] === 'postgres_changes' && frame[4].data.record.n === n)
    const begun = performance.now()
    await db.query('insert into hop values ($1)', [n])
    await came
    return performance.now() - begun
  }
  const both = async (client, count) => {
    const times = []
    for (let i = 0; i < count; i++) times.push(await row(client))
    return summary(times)
  }
  await both(one, 200)
  print('row, server one', await both(one, 1000))
  print('row, server two', await both(other, 1000))
  print('redis after that', { memory: /used_memory_human:(\S+)/.exec(redis('info', 'memory'))[1] })
  return { db, one, other, row }
}

/** The reader is killed or stopped while rows are written: how long the other one's client hears nothing. */
async function takeover({ db, one, other }, signal) {
  const owner = Number((await db.query("select client_port from pg_stat_replication where state = 'streaming'")).rows[0].client_port)
  const owners = [TEST_PID, TEST_PID_OTHER].map(Number)
  const holds = (pid) => execFileSync('ss', ['-tnpH', 'sport', '=', `:${owner}`], { encoding: 'utf8' }).includes(`pid=${pid},`)
  const reader = owners.find(holds)
  const listener = reader === owners[0] ? other : one
  let longest = 0
  let last = performance.now()
  listener.onFrame((frame) => {
    if (frame[3] !== 'postgres_changes') return
    longest = Math.max(longest, performance.now() - last)
    last = performance.now()
  })
  let writing = true
  const writer = (async () => {
    for (let n = Date.now(); writing; n++) { await db.query('insert into hop values ($1) on conflict do nothing', [n]); await sleep(5) }
  })()
  await sleep(500)
  longest = 0
  process.kill(reader, signal)
  const until = Date.now() + 20_000
  await sleep(300)
  while (performance.now() - last > 200 && Date.now() < until) await sleep(10)
  await sleep(500)
  print(`takeover after ${signal} of the reader`, { longest_silence_ms: Math.round(longest) })
  if (signal === 'SIGSTOP') process.kill(reader, 'SIGCONT')
  writing = false
  await writer
}

async function healing() {
  const [sender, there] = [await join(TEST_URL, 'heal'), await join(TEST_URL_OTHER, 'heal')]
  await sleep(300)
  process.kill(redisPid, 'SIGSTOP')
  await sleep(4000)
  process.kill(redisPid, 'SIGCONT')
  const begun = performance.now()
  let n = 1_000_000
  const came = there.until((frame) => frame[3] === 'broadcast')
  const timer = setInterval(() => sender.push('broadcast', message(n++)), 10)
  await came
  clearInterval(timer)
  print('broadcasts flow again after Redis hung for 4 s', { after_ms: Math.round(performance.now() - begun) })
}

await hop()
await across()
const world = await changes()
await healing()
await takeover(world, 'SIGSTOP')
await sleep(3000)
await takeover(world, 'SIGKILL')
process.exit(0)
