import assert from 'node:assert/strict'
import { afterEach, mock, test } from 'node:test'

import type { Http } from '../src/http.js'
import { ChatError, claimsOf, type RoomInfo, type Status } from '../src/index.js'
import { infoAfter, infoLearned, infoRead } from '../src/info.js'
import { Members } from '../src/members.js'
import { Outbox } from '../src/outbox.js'
import { applyReaction } from '../src/reactions.js'
import { Marker, tickOf } from '../src/receipts.js'
import { Statuses } from '../src/statuses.js'
import { newId } from '../src/token.js'
import { Typing } from '../src/typing.js'
import { ADA, ME, message } from './server.js'

afterEach(() => mock.timers.reset())

const settled = () => new Promise((resolve) => setImmediate(resolve))

test('a reaction said twice counts once, and the last one taken back is gone', () => {
  const push = { message_id: 'm1', user_id: ME, emoji: '👍', added: true }
  const once = applyReaction(message(1), push, ME)
  assert.deepEqual(once.reactions, [{ emoji: '👍', count: 1, users: [ME], mine: true }])
  assert.equal(applyReaction(once, push, ME), once)
  const two = applyReaction(once, { ...push, user_id: ADA }, ME)
  assert.equal(two.reactions![0]!.count, 2)
  const one = applyReaction(two, { ...push, added: false }, ME)
  assert.deepEqual(one.reactions, [{ emoji: '👍', count: 1, users: [ADA], mine: false }])
  assert.deepEqual(applyReaction(one, { ...push, user_id: ADA, added: false }, ME).reactions, [])
})

const member = (user_id: string, delivered = 0, read = 0) =>
  ({ user_id, name: '', role: 'member', joined_at: '', last_delivered_seq: delivered, last_read_seq: read }) as const

test('ticks follow the furthest of the other members', () => {
  const mine = message(5, { sender_id: ME })
  const state = (...others: ReturnType<typeof member>[]) => tickOf(mine, [member(ME, 9, 9), ...others]).state
  assert.equal(state(member(ADA, 4, 4)), 'sent')
  assert.equal(state(member(ADA, 5, 4)), 'delivered')
  assert.equal(state(member(ADA, 5, 5), member('b')), 'read')
  assert.deepEqual(tickOf(mine, [member(ADA, 5, 5), member('b', 5)]), { state: 'read', delivered: 2, read: 1, of: 2 })
})

test("members' cursors do not go back", () => {
  const members = new Members()
  members.replace([member(ADA, 5, 3)])
  members.receipt({ user_id: ADA, delivered_seq: 9, read_seq: 9 })
  members.replace([member(ADA, 6, 6)])
  assert.equal(members.map.get(ADA)!.last_read_seq, 9)
  members.changed({ user_id: 'b', name: 'Bob', role: 'member', change: 'joined' })
  members.changed({ user_id: 'b', change: 'left' })
  assert.deepEqual([members.map.has('b'), members.nameOf('b')], [false, 'Bob'])
})

test('who comes or goes while the members are read is not forgotten', async () => {
  const members = new Members()
  members.replace([member('gone')])
  const isRead = await members.read(async () => {
    members.changed({ user_id: 'new', name: 'New', role: 'member', change: 'joined' })
    members.changed({ user_id: 'gone', change: 'left' })
    return [member(ADA), member('gone')]
  })
  assert.deepEqual([isRead, [...members.map.keys()]], [true, [ADA, 'new']])
  assert.equal(await members.read(async () => undefined), false)
  assert.equal(members.map.size, 2)
})

test('what is told of a user counts for more than an answer that was under way', async () => {
  const answers: ((statuses: Status[]) => void)[] = []
  const asked: (readonly string[])[] = []
  const http = {
    statuses: (users: readonly string[]) => (asked.push(users), new Promise<Status[]>((answer) => answers.push(answer))),
  }
  const statuses = new Statuses(http as unknown as Http)
  const status = (user_id: string, online: boolean): Status => ({ user_id, online, last_seen: null })
  const asking = statuses.ask([ADA, 'b'])
  statuses.told(status(ADA, true))
  answers.pop()!([status(ADA, false), status('b', true)])
  await asking
  assert.deepEqual([statuses.of(ADA)?.online, statuses.of('b')?.online], [true, true])

  mock.timers.enable({ apis: ['setTimeout'] })
  for (const user of ['c', 'd', 'c']) statuses.wonder(user)
  mock.timers.tick(100)
  assert.deepEqual(asked.slice(1), [['c', 'd']])
})

test('cursors are told together, forward only, and again after a failure', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  const told: string[] = []
  let works = true
  const marker = new Marker(async (event, seq) => (told.push(`${event} ${seq}`), works))
  for (const seq of [1, 2, 3]) marker.delivered(seq)
  marker.read(2)
  mock.timers.tick(300)
  assert.deepEqual(told, [], 'while there is no connection they gather')
  marker.start()
  await settled()
  assert.deepEqual(told.splice(0), ['chat:read 2', 'chat:delivered 3'])
  works = false
  marker.read(3)
  marker.read(1)
  mock.timers.tick(300)
  await settled()
  works = true
  mock.timers.tick(2_000)
  await settled()
  assert.deepEqual(told.splice(0), ['chat:read 3', 'chat:read 3'])
  await marker.flush()
  assert.deepEqual(told, [])
  marker.pause()
  marker.read(4)
  mock.timers.tick(2_000)
  assert.deepEqual(told, [])
})

const letter = (id: string) => ({ id, content: '', reply_to: null })

test('messages go one after the other, and what cannot be helped fails alone', async () => {
  const sent: string[] = []
  const failed: string[] = []
  const outbox = new Outbox(
    async ({ id }) => {
      await settled()
      if (id === 'b') throw new ChatError('forbidden', 'No.')
      sent.push(id)
    },
    ({ id }, error) => failed.push(`${id} ${error.code}`),
  )
  for (const id of ['a', 'b', 'c']) outbox.add(letter(id))
  for (let turn = 0; turn < 10; turn += 1) await settled()
  assert.deepEqual([sent, failed], [['a', 'c'], ['b forbidden']])
})

test('being away is no failure: the same message goes when the connection is back', async () => {
  let isAway = true
  const tries: string[] = []
  const outbox = new Outbox(
    async ({ id }) => {
      tries.push(id)
      if (isAway) throw new TypeError('fetch failed')
    },
    () => assert.fail('it is not given up'),
  )
  outbox.add(letter('a'))
  for (let turn = 0; turn < 20; turn += 1) {
    await settled()
    outbox.kick()
  }
  isAway = false
  outbox.kick()
  await settled()
  const count = tries.length
  outbox.kick()
  await settled()
  assert.ok(count > 10 && tries.every((id) => id === 'a'))
  assert.equal(tries.length, count)
})

test('a server that stays busy is given up', async () => {
  const failed: string[] = []
  const outbox = new Outbox(
    async () => Promise.reject(new ChatError('rate_limited', 'Too many.')),
    (_, error) => failed.push(error.code),
  )
  outbox.add(letter('a'))
  for (let turn = 0; turn < 20; turn += 1) {
    await settled()
    outbox.kick()
  }
  assert.deepEqual(failed, ['rate_limited'])
})

const info: RoomInfo = {
  id: 'r', name: 'Room', visibility: 'private', created_by: null, created_at: '', last_seq: 3, last_rev: 3,
  member_count: 2, last_message_at: null, role: 'member', last_delivered_seq: 3, last_read_seq: 3,
  unread_count: 0, last_message: null,
}

test('the badge counts what others say until it is read', () => {
  const hear = (seq: number, sender_id: string) => (from: RoomInfo) =>
    infoAfter(from, { event: 'chat:message', message: message(seq, { sender_id }) }, ME)
  const two = hear(5, ME)(hear(4, ADA)(info))
  assert.deepEqual([two.unread_count, two.last_seq], [1, 5])
  assert.equal(hear(4, ADA)(two), two, 'said twice')
  assert.equal(infoRead(two, { delivered_seq: 5, read_seq: 5 }, [], ME).unread_count, 0)
  const loaded = [message(4), message(5), message(6, { sender_id: ME })]
  assert.equal(infoRead({ ...two, last_seq: 6 }, { delivered_seq: 4, read_seq: 4 }, loaded, ME).unread_count, 1)
  assert.equal(infoLearned(two, info, [], ME).last_seq, 5, 'an answer from before the push')
})

test('typing ends by itself and is told now and then only', () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  let changes = 0
  const typing = new Typing(() => (changes += 1))
  typing.set(ADA, true)
  typing.set(ADA, true)
  assert.deepEqual([typing.users, changes], [[ADA], 1])
  mock.timers.tick(8_000)
  assert.deepEqual([typing.users, changes], [[], 2])
  assert.deepEqual([0, 1_000, 2_999, 3_000].map((now) => typing.isDue(now)), [true, false, false, true])
  assert.ok(typing.stop(3_100) && !typing.stop(3_200) && typing.isDue(3_300))
})

test('a token says whose it is, and nonsense says nothing', () => {
  const part = Buffer.from(JSON.stringify({ sub: 'u', name: 'Zoë' })).toString('base64url')
  assert.deepEqual(claimsOf(`x.${part}.y`), { sub: 'u', name: 'Zoë' })
  assert.deepEqual(claimsOf('nonsense'), {})
  assert.match(newId(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
})
