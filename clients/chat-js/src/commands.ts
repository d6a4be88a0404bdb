/** What one does to messages: over the socket, or over HTTP where that gives no answer. */

import type { Channel } from './channel.js'
import { ChatError } from './errors.js'
import type { Http } from './http.js'
import type { Letter } from './outbox.js'
import type { RoomState } from './state.js'
import { messageOf } from './timeline.js'
import type { Push } from './types.js'

/** A message of one's own that is committed should come in its turn; after this it is asked for. */
const ECHO = 5_000

export interface Means {
  me: string
  http: Http
  channel: Channel
  state: RoomState
  push(push: Push): void
}

export class Commands {
  readonly #room: string
  readonly #means: Means

  constructor(room: string, means: Means) {
    this.#room = room
    this.#means = means
  }

  async send({ id, content, reply_to }: Letter): Promise<void> {
    const { http, state } = this.#means
    const body = { id, content, ...(reply_to && { reply_to }) }
    const overHttp = async () => {
      const message = await http.send(this.#room, body)
      state.dispatch({ type: 'answer', message })
    }
    await this.#run('chat:send', body, overHttp)
    // Committed. The message itself comes in its turn; this is for when it does not.
    setTimeout(() => {
      if (state.timeline.drafts.some((draft) => draft.id === id)) overHttp().catch(() => undefined)
    }, ECHO)
  }

  async edit(id: string, content: string): Promise<void> {
    const { http, state } = this.#means
    const known = messageOf(state.timeline, id)
    if (!known) throw new ChatError('not_found', 'The message is not loaded.')
    const { version } = known
    await this.#run('chat:edit', { id, content, version }, async () => {
      const message = await http.edit(this.#room, id, { content, version })
      state.dispatch({ type: 'answer', message })
    })
  }

  async delete(id: string): Promise<void> {
    const { http, state } = this.#means
    await this.#run('chat:delete', { id }, async () => {
      const message = await http.delete(this.#room, id)
      state.dispatch({ type: 'answer', message })
    })
  }

  async react(id: string, emoji: string, added: boolean): Promise<void> {
    const { me, http, state, push } = this.#means
    const known = messageOf(state.timeline, id)?.reactions?.find((reaction) => reaction.emoji === emoji)
    const wasAdded = known?.mine ?? false
    const show = (isAdded: boolean) => push({ event: 'chat:reaction', message_id: id, user_id: me, emoji, added: isAdded })
    show(added)
    try {
      await this.#run(added ? 'chat:react' : 'chat:unreact', { id, emoji }, () => http.react(this.#room, id, emoji, added))
    } catch (error) {
      show(wasAdded)
      throw error
    }
  }

  async #run(event: string, payload: Record<string, unknown>, overHttp: () => Promise<unknown>): Promise<void> {
    const outcome = await this.#means.channel.push(event, payload)
    if (outcome.is === 'refused') throw outcome.error
    if (outcome.is === 'unknown') await overHttp()
  }
}
