/** One room: what it holds, what one can do in it, and what it says. */

import { Channel } from './channel.js'
import { asChatError, ChatError } from './errors.js'
import { Emitter } from './emitter.js'
import type { Http } from './http.js'
import { backoff, Outbox, type Letter } from './outbox.js'
import { Marker, tickOf, type Tick } from './receipts.js'
import { RoomState, type RoomEvents, type RoomSnapshot } from './state.js'
import type { Statuses } from './statuses.js'
import { PAGE, pause, Sync } from './sync.js'
import { messageOf, type Draft } from './timeline.js'
import { newId } from './token.js'
import type * as wire from './types.js'

/** A message of one's own that is committed should come in its turn; after this it is asked for. */
const ECHO = 5_000

export interface RoomContext {
  me: string
  http: Http
  statuses: Statuses
  channel(topic: string, listeners: ConstructorParameters<typeof Channel>[2]): Channel
}

export class Room extends Emitter<RoomEvents> {
  readonly id: string
  readonly #context: RoomContext
  readonly #state: RoomState
  readonly #channel: Channel
  readonly #sync: Sync
  readonly #outbox: Outbox
  readonly #marker: Marker
  #isOpen = false
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
    this.#channel = context.channel(`room:${id}`, {
      joined: () => this.#joined(),
      dropped: (isRefused) => this.#dropped(isRefused),
      cut: () => void this.#cut(),
      event: (event, payload) => this.#event(event, payload),
    })
    this.#sync = new Sync(id, {
      http,
      statuses,
      state,
      learn: (info) => this.learn(info),
      failed: (error) => this.#refused(error),
    })
    this.#outbox = new Outbox(
      (letter) => this.#deliver(letter),
      (letter, error) => {
        state.dispatch({ type: 'fail', id: letter.id, error })
        this.emit('error', error)
      },
    )
    this.#marker = new Marker(async (event, seq) => (await this.#channel.push(event, { seq })).is === 'done')
  }

  /** What is to be seen now. The same object until something changes. */
  get snapshot(): RoomSnapshot {
    return this.#state.snapshot
  }

  /** Listens without reading messages: enough for the badge of unread ones. */
  join(): void {
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
  async edit(id: string, content: string): Promise<void> {
    const { version } = this.#known(id)
    await this.#command('chat:edit', { id, content, version }, async () => {
      const message = await this.#context.http.edit(this.id, id, { content, version })
      this.#state.dispatch({ type: 'answer', message })
    })
  }

  /** Empties a message, for good. Its place stays. */
  async delete(id: string): Promise<void> {
    await this.#command('chat:delete', { id }, async () => {
      const message = await this.#context.http.delete(this.id, id)
      this.#state.dispatch({ type: 'answer', message })
    })
  }

  /** Adds one's reaction, or takes it back. It is seen at once, and undone if refused. */
  async react(id: string, emoji: string, added = true): Promise<void> {
    const user_id = this.#context.me
    const show = (isAdded: boolean) =>
      this.#state.push({ event: 'chat:reaction', message_id: id, user_id, emoji, added: isAdded }, this.#isOpen)
    show(added)
    try {
      await this.#command(added ? 'chat:react' : 'chat:unreact', { id, emoji }, () =>
        this.#context.http.react(this.id, id, emoji, added),
      )
    } catch (error) {
      show(!added)
      throw error
    }
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

  /** Members whose names begin with `prefix`. */
  searchMembers(prefix: string, limit = 20): Promise<wire.Member[]> {
    return this.#context.http.members(this.id, { prefix, limit }).then(({ members }) => members)
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

  #known(id: string): wire.Message {
    const message = messageOf(this.#state.timeline, id)
    if (!message) throw new ChatError('not_found', 'The message is not loaded.')
    return message
  }

  /** Over the socket, or over HTTP where that gives no answer or no reason. */
  async #command(event: string, payload: Record<string, unknown>, overHttp: () => Promise<unknown>): Promise<void> {
    const outcome = await this.#channel.push(event, payload)
    if (outcome.is === 'refused') throw outcome.error
    if (outcome.is === 'unknown') await overHttp()
  }

  async #deliver({ id, content, reply_to }: Letter): Promise<void> {
    const body = { id, content, ...(reply_to && { reply_to }) }
    const overHttp = async () => {
      const message = await this.#context.http.send(this.id, body)
      this.#state.dispatch({ type: 'answer', message })
    }
    await this.#command('chat:send', body, overHttp)
    // Committed. The message itself comes in its turn; this is for when it does not.
    setTimeout(() => {
      if (this.#state.timeline.drafts.some((draft) => draft.id === id)) overHttp().catch(() => undefined)
    }, ECHO)
  }

  #joined(): void {
    this.#state.connect('online')
    this.#outbox.kick()
    void this.#marker.flush()
    if (this.#isOpen) void this.#sync.start()
  }

  #dropped(isRefused: boolean): void {
    this.#sync.stop()
    this.#state.typing.clear()
    this.#state.connect('offline')
    if (isRefused) void this.#verify()
  }

  /** The server closed the channel: one was removed, or it wants to see the token anew. */
  async #cut(): Promise<void> {
    this.#dropped(false)
    for (let tries = 0; !this.#state.isRemoved && this.#stopListening; tries += 1) {
      if (await this.#verify()) return this.join()
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

  #event(event: string, payload: unknown): void {
    switch (event) {
      case 'chat:message':
      case 'chat:message_updated':
      case 'chat:message_deleted': {
        const { message } = payload as { message: wire.Message }
        this.#state.typing.set(message.sender_id, false)
        this.#state.push({ event, message }, this.#isOpen)
        this.#got(message.seq)
        if (this.#state.timeline.phase === 'gap') void this.#sync.start()
        return
      }
      case 'chat:reaction':
        return this.#state.push({ event, ...(payload as wire.ReactionPush) }, this.#isOpen)
      case 'chat:receipt':
        return this.#state.receipt(payload as wire.ReceiptPush)
      case 'chat:member':
        return this.#member(payload as wire.MemberPush)
      case 'chat:typing': {
        const { user_id, typing } = payload as wire.TypingPush
        if (user_id !== this.#context.me) this.#state.typing.set(user_id, typing)
        return
      }
      case 'chat:status':
        return this.#context.statuses.set(payload as wire.Status)
      // The server cannot tell whether one has everything.
      case 'chat:resync':
        return this.#reread()
    }
  }

  #got(seq: number): void {
    if (this.#state.info?.role) this.#marker.delivered(seq)
  }

  #member(push: wire.MemberPush): void {
    this.#state.member(push)
    if (push.user_id !== this.#context.me || push.change === 'left') return
    // A guest who has become a member sees more.
    this.#reread()
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
