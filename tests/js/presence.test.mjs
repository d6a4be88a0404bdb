// Presence in the official client.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, Inbox, subscribe, VERSIONS } from './support.mjs'

for (const vsn of VERSIONS) {
  test(`sync, join and leave tell who is there (${vsn})`, async (t) => {
    const topic = `presence-${vsn}`
    const enter = async (key) => {
      const client = connect(t, { vsn })
      const channel = client.channel(topic, { config: { presence: { key } } })
      const events = { sync: new Inbox(), join: new Inbox(), leave: new Inbox() }
      for (const [event, inbox] of Object.entries(events)) channel.on('presence', { event }, inbox.push)
      await subscribe(channel)
      return { client, channel, ...events }
    }
    const ann = await enter('ann')
    await ann.sync.next('the first state')
    assert.deepEqual(ann.channel.presenceState(), {})
    assert.equal(await ann.channel.track({ mood: 'good' }), 'ok')
    assert.equal((await ann.join.next()).key, 'ann')

    const bob = await enter('bob')
    await bob.sync.next('the state')
    assert.equal(bob.channel.presenceState().ann[0].mood, 'good')
    await bob.channel.track({})
    const joined = await ann.join.next()
    assert.equal(joined.key, 'bob')

    await ann.channel.track({ mood: 'better' })
    let update
    do update = await bob.join.next(); while (update.key !== 'ann' || update.newPresences[0].mood !== 'better')

    await bob.client.removeAllChannels()
    let left
    do left = await ann.leave.next(); while (left.key !== 'bob')
    assert.deepEqual(Object.keys(ann.channel.presenceState()), ['ann'])
  })
}
