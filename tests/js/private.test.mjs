// Private channels under policies: broadcasts, presence, replay, REST and a new token.
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import pg from 'pg'
import { connect, database, Inbox, jwt, subscribe, VERSIONS } from './support.mjs'

// Who carries the claim `club` may hear and talk in topics that start with it.
before(async () => {
  const sql = new pg.Client({ connectionString: process.env.TEST_DB })
  await sql.connect()
  const member = `realtime.topic() like (auth.jwt() ->> 'club') || ':%'`
  await sql.query(`create policy "the club listens" on realtime.messages for select to authenticated using (${member});
    create policy "the club talks" on realtime.messages for insert to authenticated with check (${member})`)
  await sql.end()
})

async function member(t, vsn) {
  const client = connect(t, { vsn })
  await client.realtime.setAuth(jwt({ role: 'authenticated', club: 'chess' }))
  return client
}

const secretly = (config = {}) => ({ config: { private: true, ...config } })

for (const vsn of VERSIONS) {
  test(`members of a private channel hear each other and no stranger (${vsn})`, async (t) => {
    const topic = `chess:talk-${vsn}`
    const inbox = new Inbox()
    const listener = (await member(t, vsn)).channel(topic, secretly()).on('broadcast', { event: '*' }, inbox.push)
    const talker = (await member(t, vsn)).channel(topic, secretly({ broadcast: { ack: true } }))
    const stranger = connect(t, { vsn }).channel(topic)
    await Promise.all([listener, talker, stranger].map((channel) => subscribe(channel)))
    // Of the same name, but public.
    await stranger.send({ type: 'broadcast', event: 'no', payload: {} })
    await stranger.httpSend('no', {})
    assert.equal(await talker.send({ type: 'broadcast', event: 'yes', payload: { move: 'e4' } }), 'ok')
    const heard = await inbox.next()
    assert.deepEqual([heard.event, heard.payload], ['yes', { move: 'e4' }])
  })

  test(`presence tells who is in a private channel (${vsn})`, async (t) => {
    const topic = `chess:hall-${vsn}`
    const enter = async (key) => (await member(t, vsn)).channel(topic, secretly({ presence: { key } }))
    const joins = new Inbox()
    const watcher = (await enter('watcher')).on('presence', { event: 'join' }, joins.push)
    const guest = await enter('guest')
    await Promise.all([subscribe(watcher), subscribe(guest)])
    assert.equal(await guest.track({ mood: 'good' }), 'ok')
    const { key, newPresences } = await joins.next()
    assert.deepEqual([key, newPresences[0].mood], ['guest', 'good'])
  })

  test(`messages that were stored are replayed to who joins later (${vsn})`, async (t) => {
    const topic = `chess:past-${vsn}`
    const sql = await database(t)
    for (const n of [1, 2, 3]) {
      await sql.query(`select realtime.send($1::jsonb, 'move', $2, true)`, [{ n }, topic])
    }
    const inbox = new Inbox()
    const replay = { since: Date.now() - 60_000, limit: 2 }
    const late = (await member(t, vsn)).channel(topic, secretly({ broadcast: { replay } }))
      .on('broadcast', { event: 'move' }, inbox.push)
    await subscribe(late)
    for (const n of [2, 3]) {
      const { payload, meta } = await inbox.next()
      assert.deepEqual([payload.n, meta.replayed], [n, true])
    }
    await sql.query(`select realtime.send('{"n": 4}', 'move', $1, true)`, [topic])
    const { payload, meta } = await inbox.next()
    assert.deepEqual([payload.n, meta?.replayed], [4, undefined])
  })

  for (const config of [{}, { private: true }]) {
    const kind = config.private ? 'private' : 'public'
    test(`a channel that was never joined sends over HTTP (${kind}, ${vsn})`, async (t) => {
      const topic = `chess:post-${kind}-${vsn}`
      const inbox = new Inbox()
      const receiver = (await member(t, vsn)).channel(topic, { config }).on('broadcast', { event: '*' }, inbox.push)
      await subscribe(receiver)
      const sender = (await member(t, vsn)).channel(topic, { config })
      assert.equal(await sender.send({ type: 'broadcast', event: 'fallback', payload: { n: 1 } }), 'ok')
      assert.deepEqual(await sender.httpSend('explicit', { n: 2 }), { success: true })
      for (const [event, n] of [['fallback', 1], ['explicit', 2]]) {
        const heard = await inbox.next()
        assert.deepEqual([heard.event, heard.payload], [event, { n }])
      }
    })
  }

  test(`who may not talk in a private channel is told so over HTTP (${vsn})`, async (t) => {
    const channel = connect(t, { vsn }).channel(`chess:shut-${vsn}`, secretly())
    await assert.rejects(channel.httpSend('no', {}), /Unauthorized/)
  })

  test(`a new token keeps a private channel, or loses it with the right (${vsn})`, async (t) => {
    const topic = `chess:kept-${vsn}`
    const client = await member(t, vsn)
    const [own, told] = [new Inbox(), new Inbox()]
    const channel = client.channel(topic, secretly({ broadcast: { self: true, ack: true } }))
      .on('broadcast', { event: '*' }, own.push).on('system', {}, told.push)
    await subscribe(channel)
    await client.realtime.setAuth(jwt({ role: 'authenticated', club: 'chess', again: true }))
    assert.equal(await channel.send({ type: 'broadcast', event: 'still', payload: {} }), 'ok')
    assert.equal((await own.next()).event, 'still')
    await client.realtime.setAuth(jwt({ role: 'authenticated', club: 'bridge' }))
    assert.match((await told.next()).message, /permissions/)
  })
}
