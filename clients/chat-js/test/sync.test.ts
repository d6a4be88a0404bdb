import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'

import { ChatError, Rooms, type Member, type RoomInfo } from '../src/index.js'
import { Http } from '../src/http.js'
import type { Room } from '../src/room.js'
import { RoomState } from '../src/state.js'
import { Statuses } from '../src/statuses.js'
import { Sync } from '../src/sync.js'
import { ADA, FakeRoom, ME } from './server.js'

beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }))
afterEach(() => mock.timers.reset())

const settled = async () => {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}
const later = async () => {
  await settled()
  mock.timers.tick(20_000)
  await settled()
}

const member = (user_id: string): Member =>
  ({ user_id, name: '', role: 'member', joined_at: '', last_delivered_seq: 0, last_read_seq: 0 })

/** A reader of a room whose server answers, or refuses. */
function reading(server: { room: FakeRoom }) {
  const trouble: { code?: ChatError['code'] } = {}
  const info = (): RoomInfo => ({
    id: 'r', name: 'Room', visibility: 'private', created_by: null, created_at: '', last_seq: server.room.head.seq,
    last_rev: server.room.head.rev, member_count: 2, last_message_at: null, role: 'member', last_delivered_seq: 0,
    last_read_seq: 0, unread_count: 0, last_message: null,
  })
  const answer = async <T>(value: () => T) => {
    if (trouble.code) throw new ChatError(trouble.code, 'No.')
    return value()
  }
  const people = Array.from({ length: 730 }, (_, at) => member(`user-${at}`))
  const http = {
    messages: () => answer(() => server.room.history(50)),
    resume: (_: string, { rev }: { rev: number }) => answer(() => server.room.resume(rev, 1_000)),
    room: () => answer(info),
    members: (_: string, { after = '0', limit = 0 }: { after?: string; limit?: number }) =>
      answer(() => ({ members: people.slice(Number(after), Number(after) + limit), next: String(Number(after) + limit) })),
    statuses: () => answer(() => []),
  } as unknown as Http
  const state = new RoomState(ME, () => undefined)
  const failed: string[] = []
  const sync = new Sync('r', {
    http,
    statuses: new Statuses(http),
    state,
    learn: (known) => state.learn(known),
    setBack: () => state.setBack(),
    failed: ({ code }) => failed.push(code),
  })
  return { state, sync, failed, trouble }
}

test('a refusal that passes leaves no room standing still, and is told once', async () => {
  const room = new FakeRoom()
  room.send('a', 'hello')
  const { state, sync, failed, trouble } = reading({ room })
  trouble.code = 'unauthorized'
  void sync.start()
  for (let turn = 0; turn < 3; turn += 1) await later()
  assert.deepEqual([state.timeline.phase, failed], ['syncing', ['unauthorized']])
  delete trouble.code
  await later()
  assert.deepEqual([state.timeline.phase, state.timeline.messages.length], ['live', 1])
})

test('members are read page by page, up to a bound', async () => {
  const { state, sync } = reading({ room: new FakeRoom() })
  void sync.start()
  await settled()
  assert.equal(state.members.map.size, 500)
})

test('a database from a backup sets the room back, also one that was heard of only', async () => {
  const grown = new FakeRoom()
  for (let at = 0; at < 5; at += 1) grown.send(`m-${at}`, 'hello')
  const restored = new FakeRoom()
  restored.send('m-0', 'hello')
  for (const isRead of [true, false]) {
    const server = { room: grown }
    const { state, sync } = reading(server)
    void sync.start()
    await settled()
    const fresh = isRead ? { state, sync } : reading(server)
    if (!isRead) fresh.state.learn(state.info!)
    fresh.sync.stop()
    server.room = restored
    void fresh.sync.start()
    await settled()
    const { info, timeline } = fresh.state
    assert.deepEqual([info?.last_seq, timeline.messages.length, timeline.position], [1, 1, { seq: 1, rev: 1 }])
  }
})

test('what one names stays a part of the path', async () => {
  const asked: string[] = []
  const http = new Http({
    baseUrl: 'http://server',
    token: async () => 'x',
    fetch: async (url) => {
      asked.push(new URL(String(url)).pathname)
      return new Response('{}')
    },
  })
  await http.react('r/../x', 'm?', '👍', true)
  assert.deepEqual(asked, ['/chat/v1/rooms/r%2F..%2Fx/messages/m%3F/reactions/%F0%9F%91%8D'])
  for (const id of ['', '.', '..']) await assert.rejects(http.room(id), { code: 'bad_request' })
})

test('a list that is being read is read once more for what happens meanwhile', async () => {
  const ids = ['r1']
  let reads = 0
  const http = {
    rooms: async () => {
      reads += 1
      const rooms = ids.map((id) => ({ id, created_at: '2026-01-01', last_message_at: null, created_by: ADA }))
      await settled()
      return { rooms, next: null }
    },
  } as unknown as Http
  const room = () => ({ learn() {}, on: () => () => undefined, listed() {}, snapshot: { info: null } }) as unknown as Room
  const rooms = new Rooms(http, room)
  void rooms.refresh()
  await Promise.resolve()
  await Promise.resolve()
  ids.push('r2')
  await Promise.all([rooms.refresh(), rooms.refresh()])
  assert.deepEqual([rooms.snapshot.rooms.map(({ id }) => id), reads], [['r1', 'r2'], 2])
})
