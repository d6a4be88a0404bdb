/** A room as the server keeps it, without a server: what it says and what it answers. */

import type { Message, Missed, Page, Push } from '../src/index.js'

/** Numbers that are the same in each run of a seed. */
export function random(seed: number): (below: number) => number {
  let state = seed + 0x9e3779b9
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

export const ME = '00000000-0000-4000-8000-00000000000a'
export const ADA = '00000000-0000-4000-8000-00000000000b'

export function message(seq: number, over: Partial<Message> = {}): Message {
  return {
    id: `m${seq}`,
    room_id: 'r',
    seq,
    rev: seq,
    version: 1,
    sender_id: ADA,
    content: `text ${seq}`,
    reply_to: null,
    created_at: '2026-01-01T00:00:00Z',
    edited_at: null,
    deleted_at: null,
    ...over,
  }
}

export class FakeRoom {
  readonly log: Push[] = []
  #messages: (Message & { reactors: Map<string, Set<string>> })[] = []
  #seq = 0
  #rev = 0

  send(id: string, content: string, sender_id = ADA): Message {
    const known = this.#messages.find((one) => one.id === id)
    if (known) return this.#plain(known)
    const made = message((this.#seq += 1), { id, content, sender_id, rev: (this.#rev += 1) })
    this.#messages.push({ ...made, reactors: new Map() })
    this.log.push({ event: 'chat:message', message: made })
    return made
  }

  edit(at: number, content: string): void {
    const known = this.#messages[at]
    if (!known || known.deleted_at) return
    Object.assign(known, { content, version: known.version + 1, rev: (this.#rev += 1), edited_at: 'now' })
    this.log.push({ event: 'chat:message_updated', message: this.#plain(known) })
  }

  delete(at: number): void {
    const known = this.#messages[at]
    if (!known || known.deleted_at) return
    Object.assign(known, { content: null, version: known.version + 1, rev: (this.#rev += 1), deleted_at: 'now' })
    known.reactors.clear()
    this.log.push({ event: 'chat:message_deleted', message: this.#plain(known) })
  }

  /** As a database administrator may. */
  remove(at: number): void {
    const [known] = this.#messages.splice(at, 1)
    if (!known) return
    const { id, room_id, seq } = known
    this.log.push({ event: 'chat:message_deleted', message: { id, room_id, seq } })
  }

  react(at: number, user_id: string, emoji: string, added: boolean): void {
    const known = this.#messages[at]
    if (!known || known.deleted_at) return
    const users = known.reactors.get(emoji) ?? new Set()
    known.reactors.set(emoji, users)
    if (users.has(user_id) === added) return
    if (added) users.add(user_id)
    else users.delete(user_id)
    this.log.push({ event: 'chat:reaction', message_id: known.id, user_id, emoji, added })
  }

  get size(): number {
    return this.#messages.length
  }

  get head() {
    return { seq: this.#seq, rev: this.#rev }
  }

  history(limit: number, before = Infinity): Page {
    const earlier = this.#messages.filter(({ seq }) => seq < before)
    const messages = earlier.slice(-limit).map((one) => this.#full(one))
    return { messages, has_more: earlier.length > limit, head: this.head }
  }

  resume(rev: number, limit: number): Missed {
    const missed = this.#messages.filter((one) => one.rev > rev)
    const limited = missed.length > limit
    return { messages: limited ? [] : missed.map((one) => this.#full(one)), head: this.head, limited }
  }

  #plain({ reactors: _, ...plain }: Message & { reactors: unknown }): Message {
    return { ...plain }
  }

  #full(one: Message & { reactors: Map<string, Set<string>> }): Message {
    const reactions = [...one.reactors]
      .filter(([, users]) => users.size > 0)
      .map(([emoji, users]) => ({ emoji, count: users.size, users: [...users].slice(0, 10), mine: users.has(ME) }))
    return { ...this.#plain(one), reactions }
  }
}
