/** What is known of one room, and who is told when it changes. Requests nothing. */

import type { ChatError } from './errors.js'
import { infoAfter, infoLearned, infoRead } from './info.js'
import { Members } from './members.js'
import { news } from './news.js'
import { emptyTimeline, reduce, type Action, type Draft, type Timeline } from './timeline.js'
import type * as wire from './types.js'
import { Typing } from './typing.js'

export type Connection = 'connecting' | 'online' | 'offline'

export interface RoomEvents {
  message: wire.Message
  updated: wire.Message
  deleted: wire.Message | wire.Removed
  reaction: wire.ReactionPush
  receipt: wire.ReceiptPush
  member: wire.MemberPush
  /** Everybody who types now. */
  typing: readonly string[]
  status: wire.Status
  error: ChatError
  connection: Connection
  /** One is no member any more, or the room is gone. */
  removed: void
  /** Anything of the snapshot. */
  change: RoomSnapshot
}

/** Everything to show of a room. A new object after each change. */
export interface RoomSnapshot {
  info: wire.RoomInfo | null
  messages: readonly wire.Message[]
  /** Own messages that are not confirmed, oldest first; they belong below the others. */
  drafts: readonly Draft[]
  /** Whether the newest messages have been read. */
  isLoaded: boolean
  hasOlder: boolean
  members: ReadonlyMap<string, wire.Member>
  typing: readonly string[]
  connection: Connection
  isRemoved: boolean
}

/** The state behind a room. It tells through the emitter that it is given. */
export class RoomState {
  readonly me: string
  readonly members = new Members()
  readonly typing: Typing
  readonly #emit: <E extends keyof RoomEvents>(event: E, payload: RoomEvents[E]) => void
  #timeline: Timeline
  #info: wire.RoomInfo | null = null
  #connection: Connection = 'connecting'
  #isRemoved = false
  #isTelling = false
  #snapshot: RoomSnapshot | undefined

  constructor(me: string, emit: <E extends keyof RoomEvents>(event: E, payload: RoomEvents[E]) => void) {
    this.me = me
    this.#emit = emit
    this.#timeline = emptyTimeline(me)
    this.typing = new Typing(() => {
      emit('typing', this.typing.users)
      this.changed()
    })
  }

  get timeline(): Timeline {
    return this.#timeline
  }

  get info(): wire.RoomInfo | null {
    return this.#info
  }

  get isRemoved(): boolean {
    return this.#isRemoved
  }

  get snapshot(): RoomSnapshot {
    const { messages, drafts, hasOlder, position } = this.#timeline
    this.#snapshot ??= {
      info: this.#info,
      messages,
      drafts,
      isLoaded: position !== null,
      hasOlder,
      members: this.members.map,
      typing: this.typing.users,
      connection: this.#connection,
      isRemoved: this.#isRemoved,
    }
    return this.#snapshot
  }

  dispatch(action: Action): void {
    const before = this.#timeline
    this.#timeline = reduce(before, action)
    if (this.#timeline === before) return
    for (const push of news(before, this.#timeline, action)) this.#announce(push)
    this.changed()
  }

  /** A push; without a timeline that is kept up to date, only the room's line changes. */
  push(push: wire.Push, isOpen: boolean): void {
    if (this.#info) this.#info = infoAfter(this.#info, push, this.me)
    if (isOpen) this.dispatch({ type: 'push', push })
    else this.#announce(push)
    this.changed()
  }

  /** The room has less than is known of it. What is left is learned anew. */
  setBack(): void {
    this.#info = null
    this.members.clear()
  }

  learn(info: wire.RoomInfo): void {
    if (info.role) this.#isRemoved = false
    this.#info = infoLearned(this.#info, info, this.#timeline.messages, this.me)
    this.changed()
  }

  receipt(receipt: wire.ReceiptPush): void {
    this.members.receipt(receipt)
    if (receipt.user_id === this.me) this.read(receipt)
    this.#emit('receipt', receipt)
    this.changed()
  }

  /** One's own cursors have moved. */
  read(cursors: { delivered_seq: number; read_seq: number }): void {
    if (this.#info) this.#info = infoRead(this.#info, cursors, this.#timeline.messages, this.me)
    this.changed()
  }

  member(push: wire.MemberPush): void {
    const step = { joined: 1, updated: 0, left: -1 }[push.change]
    this.members.changed(push)
    if (this.#info) this.#info = { ...this.#info, member_count: Math.max(0, this.#info.member_count + step) }
    this.#emit('member', push)
    this.changed()
  }

  status(status: wire.Status): void {
    if (!this.members.map.has(status.user_id)) return
    this.#emit('status', status)
    this.changed()
  }

  connect(connection: Connection): void {
    if (this.#connection === connection) return
    this.#connection = connection
    this.#emit('connection', connection)
    this.changed()
  }

  remove(): void {
    this.#isRemoved = true
    this.#emit('removed', undefined)
    this.changed()
  }

  /** Many changes at once are told once. */
  changed(): void {
    this.#snapshot = undefined
    if (this.#isTelling) return
    this.#isTelling = true
    queueMicrotask(() => {
      this.#isTelling = false
      this.#emit('change', this.snapshot)
    })
  }

  #announce(push: wire.Push): void {
    switch (push.event) {
      case 'chat:message':
        return this.#emit('message', push.message)
      case 'chat:message_updated':
        return this.#emit('updated', push.message)
      case 'chat:message_deleted':
        return this.#emit('deleted', push.message)
      case 'chat:reaction':
        return this.#emit('reaction', push)
    }
  }
}
