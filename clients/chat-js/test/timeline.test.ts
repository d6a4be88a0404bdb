import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ChatError, emptyTimeline, reduce, type Action, type Draft, type Timeline } from '../src/index.js'
import { MOST_WAITING } from '../src/timeline.js'
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
  const newest = page([1, 2, 3, 4].map((seq) => message(seq)))
  const after = play([{ type: 'sync' }, { type: 'missed', missed, page: newest }], gap)
  assert.deepEqual([after.phase, seqs(after)], ['live', [1, 2, 3, 4, 5]])
})

test('a hole that stays is asked about once', () => {
  // The third was removed by hand: it is not coming.
  const gap = play([{ type: 'push', push: { event: 'chat:message', message: message(4) } }], live(2))
  const missed = { messages: [message(4)], head: { seq: 4, rev: 4 }, limited: false }
  const newest = page([1, 2, 4].map((seq) => message(seq)))
  const after = play([{ type: 'sync' }, { type: 'missed', missed, page: newest }], gap)
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
  const newest = page([message(899), message(900)], true)
  const after = play([{ type: 'missed', missed, page: newest }], away)
  assert.deepEqual([seqs(after), after.hasOlder, after.drafts.length], [[899, 900], true, 1])
})

test('what is pushed while one reads comes behind what is read', () => {
  const push = { event: 'chat:reaction', message_id: 'm2', user_id: ADA, emoji: '👍', added: true } as const
  const { id, room_id, seq } = message(1)
  const removed = { event: 'chat:message_deleted', message: { id, room_id, seq } } as const
  const missed = { messages: [], head: { seq: 2, rev: 2 }, limited: false }
  const newest = page([message(1), message(2)])
  const after = play(
    [{ type: 'sync' }, { type: 'push', push }, { type: 'push', push: removed }, { type: 'missed', missed, page: newest }],
    live(2),
  )
  assert.deepEqual([seqs(after), after.messages[0]!.reactions?.length], [[2], 1])
})

test('what waited when the connection was lost does not come after what is read later', () => {
  const reaction = { event: 'chat:reaction', message_id: 'm1', user_id: ADA, emoji: '👍', added: true } as const
  const pushes: Action[] = [
    { type: 'push', push: { event: 'chat:message', message: message(3) } },
    { type: 'push', push: reaction },
  ]
  // While it is away the third is removed and the reaction taken back.
  const missed = { messages: [], head: { seq: 3, rev: 3 }, limited: false }
  const newest = page([message(1, { reactions: [] }), message(2)])
  const back: Action[] = [{ type: 'drop' }, { type: 'sync' }, { type: 'missed', missed, page: { ...newest, head: missed.head } }]
  const after = play([{ type: 'sync' }, ...pushes, ...back], live(2))
  assert.deepEqual([seqs(after), after.messages[0]!.reactions, after.position], [[1, 2], [], { seq: 3, rev: 3 }])
})

test('an earlier database, from a backup, leaves nothing of what it does not know', () => {
  const other = message(2, { id: 'other', rev: 2, content: 'after the backup' })
  const newest = page([message(1), other])
  const missed = { messages: [], head: newest.head, limited: true }
  const later = play([{ type: 'answer', message: message(6) }, { type: 'sync' }], live(5))
  for (const action of [{ type: 'newest', page: newest }, { type: 'missed', missed, page: newest }] as const) {
    const after = play([action], later)
    assert.deepEqual([after.messages.map(({ id }) => id), after.position], [['m1', 'other'], { seq: 2, rev: 2 }])
  }
  // By now it has as many again.
  const pushed = play([{ type: 'push', push: { event: 'chat:message_updated', message: other } }], live(2))
  assert.deepEqual(pushed.messages.map(({ id }) => id), ['m1', 'other'])
})

test('too many pushes do not wait: they are read', () => {
  const push = (seq: number): Action => ({ type: 'push', push: { event: 'chat:message', message: message(seq) } })
  const pushes = Array.from({ length: MOST_WAITING + 1 }, (_, at) => push(at + 3))
  const full = play([{ type: 'sync' }, ...pushes.slice(0, -1)], live(2))
  assert.deepEqual([full.phase, full.buffer.length], ['syncing', MOST_WAITING])
  const over = play(pushes.slice(-1), full)
  assert.deepEqual([over.phase, over.buffer.length, over.position], ['gap', 0, { seq: 2, rev: 2 }])
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
    let step = 0
    /** What goes on in the room without this client. */
    const change = (what: number) => {
      const at = dice(Math.max(1, room.size))
      switch (what) {
        case 0: case 1: case 2: room.send(`m-${(step += 1)}`, 'hello'); break
        case 3: room.edit(at, `edited ${(step += 1)}`); break
        case 4: room.delete(at); break
        case 5: if (dice(4) === 0) room.remove(at); break
        default: room.react(at, dice(2) ? ME : ADA, dice(2) ? '👍' : '🎉', dice(3) > 0)
      }
    }
    /** The room changes while an answer is on its way, and that is told before the answer is there. */
    const meanwhile = () => {
      for (let count = dice(4); count > 0; count -= 1) change(dice(7))
      tell(dice(8))
    }
    const drop = () => {
      isConnected = false
      apply({ type: 'drop' })
    }
    const read = () => {
      apply({ type: 'sync' })
      // Both are asked at once, and either may be answered first.
      const resume = () => timeline.position && room.resume(timeline.position.rev, 30)
      const early = dice(2) ? resume() : undefined
      if (early !== undefined) meanwhile()
      const page = room.history(10)
      if (early === undefined) meanwhile()
      const missed = early === undefined ? resume() : early
      meanwhile()
      if (dice(8) === 0) return drop()
      apply(missed ? { type: 'missed', missed, page } : { type: 'newest', page })
    }
    const connect = () => {
      isConnected = true
      // The log is told late: what was read may be told once more.
      told = Math.max(told, room.log.length - dice(4))
      read()
    }
    for (let turn = 0; turn < 120; turn += 1) {
      const what = dice(11)
      switch (what) {
        case 7: {
          const id = `mine-${(drafts += 1)}`
          apply({ type: 'send', draft: draft(id) })
          const made = room.send(id, 'hi', ME)
          if (dice(2)) apply({ type: 'answer', message: made })
          break
        }
        case 8: if (isConnected) drop(); else connect(); break
        case 9: {
          const first = timeline.messages[0]
          if (first && timeline.hasOlder) apply({ type: 'older', page: room.history(10, first.seq) })
          break
        }
        case 10: tell(1 + dice(5)); break
        default: change(what)
      }
      if (timeline.phase === 'gap' && isConnected) read()
    }
    do {
      if (!isConnected) connect()
      tell(Infinity)
      if (timeline.phase === 'gap') read()
    } while (!isConnected)
    tell(Infinity)
    // What was lost from sight is sent again under its id, and the server says that it has it.
    for (const { id } of timeline.drafts) apply({ type: 'answer', message: room.send(id, 'hi', ME) })
    tell(Infinity)
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
