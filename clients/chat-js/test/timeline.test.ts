import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ChatError, emptyTimeline, reduce, type Action, type Draft, type Timeline } from '../src/index.js'
import { ADA, FakeRoom, ME, message, random } from './server.js'

const draft = (id: string): Draft => ({ id, content: 'hi', reply_to: null, created_at: '', state: 'sending' })
const play = (actions: Action[], from = emptyTimeline(ME)) => actions.reduce(reduce, from)
const page = (messages: ReturnType<typeof message>[], has_more = false) => {
  const head = { seq: messages.at(-1)?.seq ?? 0, rev: messages.at(-1)?.rev ?? 0 }
  return { messages, has_more, head }
}
const live = (count: number) => {
  const messages = Array.from({ length: count }, (_, at) => message(at + 1))
  return play([{ type: 'sync' }, { type: 'newest', page: page(messages) }])
}
const seqs = (timeline: Timeline) => timeline.messages.map(({ seq }) => seq)

test('a draft becomes the message that has its id', () => {
  const sent = play([{ type: 'send', draft: draft('mine') }], live(2))
  assert.equal(sent.drafts.length, 1)
  const mine = message(3, { id: 'mine', sender_id: ME })
  const after = play([{ type: 'push', push: { event: 'chat:message', message: mine } }], sent)
  assert.deepEqual([after.drafts.length, seqs(after)], [0, [1, 2, 3]])
  const again = play([{ type: 'answer', message: mine }, { type: 'send', draft: draft('mine') }], after)
  assert.deepEqual([again.drafts.length, seqs(again)], [0, [1, 2, 3]])
})

test('a failed draft can be tried again or given up', () => {
  const error = new ChatError('forbidden', 'No.')
  const failed = play([{ type: 'send', draft: draft('a') }, { type: 'fail', id: 'a', error }], live(1))
  assert.deepEqual(failed.drafts[0], { ...draft('a'), state: 'failed', error })
  assert.deepEqual(play([{ type: 'retry', id: 'a' }], failed).drafts[0], draft('a'))
  assert.equal(play([{ type: 'discard', id: 'a' }], failed).drafts.length, 0)
})

test('a push out of turn waits for what is before it', () => {
  const push = { event: 'chat:message', message: message(5) } as const
  const gap = play([{ type: 'push', push }], live(2))
  assert.deepEqual([gap.phase, seqs(gap)], ['gap', [1, 2]])
  const missed = { messages: [message(3), message(4)], head: { seq: 4, rev: 4 }, limited: false }
  const after = play([{ type: 'sync' }, { type: 'missed', missed }], gap)
  assert.deepEqual([after.phase, seqs(after)], ['live', [1, 2, 3, 4, 5]])
})

test('a hole that stays is asked about once', () => {
  // The third was removed by hand: it is not coming.
  const gap = play([{ type: 'push', push: { event: 'chat:message', message: message(4) } }], live(2))
  const missed = { messages: [message(4)], head: { seq: 4, rev: 4 }, limited: false }
  const after = play([{ type: 'sync' }, { type: 'missed', missed }], gap)
  assert.deepEqual([after.phase, seqs(after)], ['live', [1, 2, 4]])
  const next = play([{ type: 'push', push: { event: 'chat:message', message: message(5) } }], after)
  assert.equal(next.phase, 'live')
})

test('an older state of a message does not replace a newer one', () => {
  const edited = message(2, { content: 'new', rev: 9, version: 2 })
  const after = play(
    [
      { type: 'push', push: { event: 'chat:message_updated', message: edited } },
      { type: 'push', push: { event: 'chat:message_updated', message: message(2, { content: 'old' }) } },
    ],
    live(3),
  )
  assert.equal(after.messages[1]!.content, 'new')
})

test('too much missed means another beginning, and drafts stay', () => {
  const away = play([{ type: 'send', draft: draft('mine') }, { type: 'sync' }], live(3))
  const missed = { messages: [], head: { seq: 900, rev: 900 }, limited: true }
  assert.equal(play([{ type: 'missed', missed }], away).phase, 'syncing')
  const newest = page([message(899), message(900)], true)
  const after = play([{ type: 'missed', missed }, { type: 'newest', page: newest }], away)
  assert.deepEqual([seqs(after), after.hasOlder, after.drafts.length], [[899, 900], true, 1])
})

// A client that reads, is pushed to, loses its connection, and comes back, beside a room that
// goes on changing. In the end it must show what the room holds.
test('whatever happens, nothing is missing, doubled or out of order', () => {
  for (let seed = 0; seed < 300; seed += 1) {
    const dice = random(seed)
    const room = new FakeRoom()
    let timeline = emptyTimeline(ME)
    let told = 0
    let isConnected = false
    let drafts = 0
    const apply = (action: Action) => {
      timeline = reduce(timeline, action)
      const list = seqs(timeline)
      assert.deepEqual(list, [...new Set(list)].sort((a, b) => a - b), `in order, each once (seed ${seed})`)
      for (const { id } of timeline.drafts) assert.ok(!timeline.messages.some((one) => one.id === id))
    }
    const tell = (most: number) => {
      for (let count = 0; isConnected && count < most && told < room.log.length; count += 1) {
        apply({ type: 'push', push: room.log[told]! })
        told += 1
      }
    }
    const read = () => {
      apply({ type: 'sync' })
      if (timeline.position) {
        const missed = room.resume(timeline.position.rev, 30)
        const page = room.history(10)
        tell(dice(4))
        apply({ type: 'missed', missed })
        if (missed.limited) apply({ type: 'newest', page: room.history(10) })
        else apply({ type: 'refreshed', page })
      } else {
        const newest = room.history(10)
        tell(dice(4))
        apply({ type: 'newest', page: newest })
      }
    }
    const connect = () => {
      isConnected = true
      // The log is told late: what was read may be told once more.
      told = Math.max(told, room.log.length - dice(4))
      read()
    }
    for (let step = 0; step < 120; step += 1) {
      const at = dice(Math.max(1, room.size))
      const user = dice(2) ? ME : ADA
      switch (dice(11)) {
        case 0: case 1: case 2: room.send(`m-${step}`, 'hello'); break
        case 3: {
          const id = `mine-${(drafts += 1)}`
          apply({ type: 'send', draft: draft(id) })
          const made = room.send(id, 'hi', ME)
          if (dice(2)) apply({ type: 'answer', message: made })
          break
        }
        case 4: room.edit(at, `edited ${step}`); break
        case 5: room.delete(at); break
        case 6: if (dice(4) === 0) room.remove(at); break
        case 7: room.react(at, user, dice(2) ? '👍' : '🎉', dice(3) > 0); break
        case 8: if (isConnected) { isConnected = false; apply({ type: 'sync' }) } else connect(); break
        case 9: {
          const first = timeline.messages[0]
          if (first && timeline.hasOlder) apply({ type: 'older', page: room.history(10, first.seq) })
          break
        }
        default: tell(1 + dice(5))
      }
      if (timeline.phase === 'gap' && isConnected) read()
    }
    if (!isConnected) connect()
    tell(Infinity)
    if (timeline.phase === 'gap') read()
    tell(Infinity)
    // What was lost from sight is sent again under its id, and the server says that it has it.
    for (const { id } of timeline.drafts) apply({ type: 'answer', message: room.send(id, 'hi', ME) })
    tell(Infinity)
    apply({ type: 'refreshed', page: room.history(10) })
    const truth = room.history(10)
    const from = truth.messages[0]?.seq ?? 0
    const sort = (list: readonly { emoji: string; count: number; mine: boolean }[] = []) =>
      list.map(({ emoji, count, mine }) => `${emoji} ${count} ${mine}`).sort()
    const plain = (messages: Timeline['messages']) =>
      messages.filter(({ seq }) => seq >= from).map((one) => ({ ...one, reactions: sort(one.reactions) }))
    assert.equal(timeline.phase, 'live')
    assert.equal(timeline.drafts.length, 0)
    assert.deepEqual(plain(timeline.messages), plain(truth.messages), `seed ${seed}`)
  }
})
