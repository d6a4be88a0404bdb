// postgres_changes in the official client, in both versions of the protocol.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readFile } from 'node:fs/promises'
import { connect, database, Inbox, subscribe, table, VERSIONS } from './support.mjs'

// The version in the inspector knows how to wait; the one installed here is the last for Node 20.
const bundle = await readFile(new URL('../../src/http/inspector/page/vendor/supabase.js', import.meta.url), 'utf8')
const { createClient: createWaiting } = new Function(`${bundle}; return supabase`)()

for (const vsn of VERSIONS) {
  test(`insert, update and delete arrive with their rows (${vsn})`, async (t) => {
    const sql = await database(t)
    const name = await table(sql)
    const inbox = new Inbox()
    const channel = connect(t, { vsn }).channel('room')
      .on('postgres_changes', { event: '*', schema: 'public', table: name }, inbox.push)
    await subscribe(channel, { changes: true })
    await sql.query(`insert into ${name} values (1, 'ann', '{"n": [1]}')`)
    await sql.query(`update ${name} set owner = 'bob'`)
    await sql.query(`delete from ${name}`)
    const insert = await inbox.next()
    assert.equal(insert.eventType, 'INSERT')
    assert.equal(insert.table, name)
    assert.deepEqual(insert.new, { id: 1, owner: 'ann', body: { n: [1] } })
    assert.equal(insert.errors, null)
    assert.ok(Math.abs(Date.parse(insert.commit_timestamp) - Date.now()) < 3_600_000)
    const update = await inbox.next()
    assert.equal(update.eventType, 'UPDATE')
    assert.equal(update.new.owner, 'bob')
    assert.deepEqual(update.old, { id: 1 })
    const gone = await inbox.next()
    assert.equal(gone.eventType, 'DELETE')
    assert.deepEqual(gone.old, { id: 1 })
  })

  test(`each binding gets what its filter lets through (${vsn})`, async (t) => {
    const sql = await database(t)
    const name = await table(sql)
    const [ann, bob, deletes] = [new Inbox(), new Inbox(), new Inbox()]
    const on = (event, filter) => ({ event, schema: 'public', table: name, filter })
    const channel = connect(t, { vsn }).channel('room')
      .on('postgres_changes', on('INSERT', 'owner=eq.ann'), ann.push)
      .on('postgres_changes', on('*', 'owner=eq.bob'), bob.push)
      .on('postgres_changes', { event: 'DELETE', schema: 'public', table: name }, deletes.push)
    await subscribe(channel, { changes: true })
    await sql.query(`insert into ${name} values (1, 'ann'), (2, 'bob'), (3, 'cleo')`)
    await sql.query(`update ${name} set body = '1' where id < 3`)
    await sql.query(`delete from ${name} where id = 3`)
    assert.equal((await deletes.next()).old.id, 3)
    assert.equal((await ann.next()).new.id, 1)
    const { eventType, new: row } = await bob.next()
    assert.deepEqual([eventType, row.id], ['INSERT', 2])
    assert.equal((await bob.next()).eventType, 'UPDATE')
    assert.deepEqual([ann.unread, bob.unread, deletes.unread], [0, 0, 0])
  })

  test(`a table that is not published is an error (${vsn})`, async (t) => {
    const channel = connect(t, { vsn }).channel('room')
      .on('postgres_changes', { event: '*', schema: 'public', table: 'nowhere' }, () => {})
    await assert.rejects(subscribe(channel, { changes: true }), /Unable to subscribe to changes/)
  })
}

test('a channel that waits is subscribed when its changes are live', async (t) => {
  const sql = await database(t)
  const name = await table(sql)
  const inbox = new Inbox()
  const client = connect(t, { using: createWaiting })
  const wait = { config: { postgres_changes_options: { wait: true } } }
  const channel = client.channel('room', wait)
    .on('postgres_changes', { event: '*', schema: 'public', table: name }, inbox.push)
  await subscribe(channel)
  await sql.query(`insert into ${name} values (1, 'ann')`)
  assert.equal((await inbox.next()).new.id, 1)
  const vain = client.channel('vain', wait)
    .on('postgres_changes', { event: '*', schema: 'public', table: 'nowhere' }, () => {})
  await assert.rejects(subscribe(vain), /CHANNEL_ERROR: .*Unable to subscribe to changes/)
})
