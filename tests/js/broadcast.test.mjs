// Broadcasts between official clients, also of different versions.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, Inbox, subscribe, VERSIONS } from './support.mjs'

for (const from of VERSIONS) {
  for (const to of VERSIONS) {
    test(`a message goes from ${from} to ${to}`, async (t) => {
      const inbox = new Inbox()
      const receiver = connect(t, { vsn: to }).channel('talk').on('broadcast', { event: 'hello' }, inbox.push)
      const sender = connect(t, { vsn: from }).channel('talk')
      await Promise.all([subscribe(receiver), subscribe(sender)])
      assert.equal(await sender.send({ type: 'broadcast', event: 'hello', payload: { text: 'häß' } }), 'ok')
      assert.deepEqual((await inbox.next()).payload, { text: 'häß' })
    })
  }
}

for (const vsn of VERSIONS) {
  test(`self and ack do what they say (${vsn})`, async (t) => {
    const [own, other] = [new Inbox(), new Inbox()]
    const config = { broadcast: { self: true, ack: true } }
    const first = connect(t, { vsn }).channel('echo', { config }).on('broadcast', { event: '*' }, own.push)
    const second = connect(t, { vsn }).channel('echo').on('broadcast', { event: '*' }, other.push)
    await Promise.all([subscribe(first), subscribe(second)])
    assert.equal(await first.send({ type: 'broadcast', event: 'a', payload: {} }), 'ok')
    assert.equal((await own.next()).event, 'a')
    assert.equal((await other.next()).event, 'a')
    await second.send({ type: 'broadcast', event: 'b', payload: {} })
    assert.equal((await own.next()).event, 'b')
    // The next that the second hears is not its own.
    await first.send({ type: 'broadcast', event: 'c', payload: {} })
    assert.equal((await other.next()).event, 'c')
  })
}
