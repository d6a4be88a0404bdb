// Keys, refusals and reconnection in the official client.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, database, Inbox, jwt, server, subscribe, table, VERSIONS, within } from './support.mjs'

const status = (channel, wanted) =>
  within(new Promise((resolve) => channel.subscribe((status, error) => {
    if (status === wanted) resolve(error)
  })), wanted)

for (const vsn of VERSIONS) {
  test(`a private channel is denied (${vsn})`, async (t) => {
    const channel = connect(t, { vsn }).channel('secret', { config: { private: true } })
    const error = await status(channel, 'CHANNEL_ERROR')
    assert.match(error.message, /You do not have permissions to read from this Channel topic: secret/)
  })

  test(`a refreshed token keeps a channel whose first one expires (${vsn})`, async (t) => {
    const short = jwt({ role: 'authenticated', exp: Math.floor(Date.now() / 1000) + 4 })
    const [client, other] = [connect(t, { vsn }), connect(t, { vsn })]
    await client.realtime.setAuth(short)
    await other.realtime.setAuth(short)
    const [inbox, farewell] = [new Inbox(), new Inbox()]
    const kept = client.channel('kept').on('broadcast', { event: 'still' }, inbox.push)
    const lost = other.channel('lost').on('system', {}, farewell.push)
    await subscribe(kept)
    await subscribe(lost).catch(() => {})
    await client.realtime.setAuth(jwt({ role: 'authenticated' }))
    // The one without a new token shows when the old one has expired.
    assert.match((await farewell.next('the expiry')).message, /^Token has expired/)
    const sender = connect(t, { vsn }).channel('kept')
    await subscribe(sender)
    await sender.send({ type: 'broadcast', event: 'still', payload: {} })
    assert.equal((await inbox.next()).event, 'still')
  })

  test(`channels come back after a restart of the server (${vsn})`, async (t) => {
    const own = await server(t)
    const sql = await database(t, own.db)
    const name = await table(sql)
    const inbox = new Inbox()
    const states = new Inbox()
    const client = connect(t, { vsn, url: own.url, reconnectAfterMs: () => 200 })
    const channel = client.channel('room')
      .on('postgres_changes', { event: 'INSERT', schema: 'public', table: name }, inbox.push)
      .on('system', {}, ({ message }) => states.push(message))
    channel.subscribe((status) => states.push(status))
    const live = async () => { while (await states.next('live changes') !== 'Subscribed to PostgreSQL'); }
    await live()
    await sql.query(`insert into ${name} values (1)`)
    assert.equal((await inbox.next()).new.id, 1)
    for (const [id, signal] of [[2, 'SIGTERM'], [3, 'SIGKILL']]) {
      await own.stop(signal)
      await own.start()
      await live()
      await sql.query(`insert into ${name} values (${id})`)
      assert.equal((await inbox.next()).new.id, id)
    }
  })
}
