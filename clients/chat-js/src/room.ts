/** One room: what it holds, what one can do in it, and what it says. */

import type { Channel, Listeners } from './channel.js'
import { Commands } from './commands.js'
import { asChatError, type ChatError } from './errors.js'
import { Emitter } from './emitter.js'
import type { Http } from './http.js'
import { hear, type Inbox } from './inbox.js'
import { backoff, Outbox, type Letter } from './outbox.js'
import { Marker, tickOf, type Tick } from './receipts.js'
import { RoomState, type RoomEvents, type RoomSnapshot } from './state.js'
import type { Statuses } from './statuses.js'
import { PAGE, pause, Sync } from './sync.js'
import type { Draft } from './timeline.js'
import { newId } from './token.js'
import type * as wire from './types.js'

export interface RoomContext {
  me: string
  http: Http
  statuses: Statuses
  channel(topic: string, listeners: Listeners): Channel
}

export class Room extends Emitter<RoomEvents> {
  readonly id: string
  readonly #context: RoomContext
  readonly #state: RoomState
  readonly #channel: Channel
  readonly #commands: Commands
  readonly #sync: Sync
  readonly #outbox: Outbox
  readonly #marker: Marker
  #isOpen = false
  /** Whether the app has asked to listen, and not the list of rooms alone. */
  #isWanted = false
  #older: Promise<void> | undefined
  #stopListening: (() => void) | undefined

  /** @internal Rooms come from `chat.room(id)`. */
  constructor(id: string, context: RoomContext) {
    super()
    this.id = id
    this.#context = context
    const { http, statuses } = context
    const state = new RoomState(context.me, (event, payload) => this.emit(event, payload))
    this.#state = state
    const push = (said: wire.Push) => this.#push(said)
    const inbox: Inbox = {
      me: context.me,
      state,
      statuses,
      push,
      got: (seq) => this.#got(seq),
      reread: () => this.#reread(),
    }
    this.#channel = context.channel(`room:${id}`, {
      joined: () => this.#joined(),
      dropped: (isRefused) => this.#dropped(isRefused),
      cut: () => void this.#cut(),
      event: (event, payload) => hear(inbox, event, payload),
    })
    this.#commands = new Commands(id, { me: context.me, http, channel: this.#channel, state, push })
    this.#sync = new Sync(id, {
      http,
      statuses,
      state,
      learn: (info) => this.learn(info),
      setBack: () => {
        state.setBack()
        this.#marker.reset()
      },
      failed: (error) => this.#refused(error),
    })
    this.#outbox = new Outbox(
      (letter) => this.#commands.send(letter),
      (letter, error) => {
        state.dispatch({ type: 'fail', id: letter.id, error })
        this.emit('error', error)
      },
    )
    this.#marker = new Marker(async (event, seq) => {
      const outcome = await this.#channel.push(event, { seq })
      // What is refused for good is not told again.
      return outcome.is === 'done' || (outcome.is === 'refused' && !outcome.error.isTransient)
    })
  }

  /** What is to be seen now. The same object until something changes. */
  get snapshot(): RoomSnapshot {
    return this.#state.snapshot
  }

  /** Listens without reading messages: enough for the badge of unread ones. */
  join(): void {
    this.#isWanted = true
    this.#listen()
  }

  /** @internal Whether it is one of the rooms that the list of rooms hears of. */
  listed(isHeard: boolean): void {
    if (isHeard) this.#listen()
    else if (!this.#isWanted) this.close()
  }

  #listen(): void {
    if (this.#state.isRemoved) return
    this.#stopListening ??= this.#context.statuses.on('change', (status) => this.#state.status(status))
    this.#channel.join()
  }

  /** Reads the newest messages and keeps them up to date from now on. */
  open(): void {
    this.join()
    if (this.#isOpen) return
    this.#isOpen = true
    if (this.#channel.isJoined) void this.#sync.start()
  }

  /** Stops listening. What was loaded stays, and `open` continues from there. */
  close(): void {
    void this.#marker.flush()
    this.#marker.pause()
    this.#isWanted = false
    this.#isOpen = false
    this.#stopListening?.()
    this.#stopListening = undefined
    this.#state.typing.clear()
    this.#channel.leave()
    this.#sync.stop()
  }

  /** Reads the page before what is loaded. */
  loadOlder(): Promise<void> {
    const first = this.#state.timeline.messages[0]
    if (!first || !this.#state.timeline.hasOlder) return Promise.resolve()
    this.#older ??= this.#context.http
      .messages(this.id, { before: first.seq, limit: PAGE })
      .then((page) => this.#state.dispatch({ type: 'older', page }))
      .finally(() => (this.#older = undefined))
    return this.#older
  }

  /** Sends a message. It is in the snapshot at once; returns its id. */
  send(content: string, { replyTo }: { replyTo?: string } = {}): string {
    const letter: Letter = { id: newId(), content, reply_to: replyTo ?? null }
    const draft: Draft = { ...letter, created_at: new Date().toISOString(), state: 'sending' }
    this.#state.typing.stop(Date.now())
    this.#state.dispatch({ type: 'send', draft })
    this.#outbox.add(letter)
    return letter.id
  }

  /** Sends a failed message again, under the same id. */
  retry(id: string): void {
    const draft = this.#state.timeline.drafts.find((known) => known.id === id)
    if (draft?.state !== 'failed') return
    this.#state.dispatch({ type: 'retry', id })
    this.#outbox.add(draft)
  }

  /** Gives up a failed message. */
  discard(id: string): void {
    const draft = this.#state.timeline.drafts.find((known) => known.id === id)
    if (draft?.state === 'failed') this.#state.dispatch({ type: 'discard', id })
  }

  /** Replaces a message's content. Fails with `conflict` if it has changed meanwhile. */
  edit(id: string, content: string): Promise<void> {
    return this.#commands.edit(id, content)
  }

  /** Empties a message, for good. Its place stays. */
  delete(id: string): Promise<void> {
    return this.#commands.delete(id)
  }

  /** Adds one's reaction, or takes it back. It is seen at once, and undone if refused. */
  react(id: string, emoji: string, added = true): Promise<void> {
    return this.#commands.react(id, emoji, added)
  }

  /** Says that everything up to a message was seen. Cheap to call: it is gathered. */
  markRead(seq: number): void {
    const { info } = this.#state
    if (!info?.role || seq <= (info.last_read_seq ?? 0)) return
    this.#marker.read(seq)
    this.#state.read({ delivered_seq: seq, read_seq: seq })
  }

  /** To be called at each keystroke. */
  typing(): void {
    if (this.#channel.isJoined && this.#state.typing.isDue(Date.now())) this.#sayTyping(true)
  }

  /** For an input that was emptied. Sending says it by itself. */
  stopTyping(): void {
    if (this.#state.typing.stop(Date.now()) && this.#channel.isJoined) this.#sayTyping(false)
  }

  /** How far a message of one's own has come. */
  tick(message: wire.Message): Tick {
    return tickOf(message, this.#state.members.map.values())
  }

  /** Who has got and read a message, with times. */
  receipts(id: string): Promise<wire.Receipts> {
    return this.#context.http.receipts(this.id, id)
  }

  nameOf(user: string): string | undefined {
    return this.#state.members.nameOf(user)
  }

  isOnline(user: string): boolean {
    return this.#context.statuses.of(user)?.online ?? false
  }

  invite(user_id: string, { name, role }: { name?: string; role?: wire.Role } = {}): Promise<wire.Member> {
    return this.#context.http.invite(this.id, { user_id, name, role })
  }

  async removeMember(user: string): Promise<void> {
    await this.#context.http.removeMember(this.id, user)
  }

  async leave(): Promise<void> {
    await this.#context.http.leave(this.id)
    this.#end()
  }

  /** @internal News of the list of rooms. */
  learn(info: wire.RoomInfo): void {
    this.#state.learn(info)
    this.#marker.known(info.last_delivered_seq ?? 0, info.last_read_seq ?? 0)
    this.#got(info.last_seq)
  }

  #joined(): void {
    this.#state.connect('online')
    this.#outbox.kick()
    this.#marker.start()
    if (this.#isOpen) void this.#sync.start()
  }

  #dropped(isRefused: boolean): void {
    this.#sync.stop()
    this.#marker.pause()
    this.#state.typing.clear()
    this.#state.connect('offline')
    if (isRefused) void this.#verify()
  }

  /** The server closed the channel: one was removed, or it wants to see the token anew. */
  async #cut(): Promise<void> {
    this.#dropped(false)
    for (let tries = 0; !this.#state.isRemoved && this.#stopListening; tries += 1) {
      if (await this.#verify()) return this.#listen()
      await pause(backoff(tries))
    }
  }

  /** Asks whether the room is still there for one. Returns whether it surely is. */
  async #verify(): Promise<boolean> {
    try {
      const info = await this.#context.http.room(this.id)
      const isStill = !this.#state.info?.role || info.role !== null
      if (!isStill) this.#end()
      return isStill
    } catch (error) {
      this.#refused(asChatError(error))
      return false
    }
  }

  #refused(error: ChatError): void {
    if (error.code === 'not_found' || error.code === 'forbidden') this.#end()
    else if (!error.isTransient) this.emit('error', error)
  }

  #end(): void {
    if (this.#state.isRemoved) return
    this.#outbox.clear()
    this.close()
    this.#state.remove()
  }

  #push(push: wire.Push): void {
    this.#state.push(push, this.#isOpen)
    if (this.#state.timeline.phase === 'gap') void this.#sync.start()
  }

  #got(seq: number): void {
    if (this.#state.info?.role) this.#marker.delivered(seq)
  }

  #reread(): void {
    if (this.#isOpen) return void this.#sync.start()
    void this.#context.http.room(this.id).then(
      (info) => this.learn(info),
      () => undefined,
    )
  }

  #sayTyping(typing: boolean): void {
    void this.#channel.push('chat:typing', { typing })
  }
}
