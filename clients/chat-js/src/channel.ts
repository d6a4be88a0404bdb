/** The channel of one room: joins, and joins again, until it is left or cut. */

import type { RealtimeChannel, SupabaseClient } from '@supabase/supabase-js'

import { ChatError, errorCode } from './errors.js'
import type { ErrorPush } from './types.js'

export interface Listeners {
  /** Joined, also after every reconnect. */
  joined(): void
  /** The connection is lost, or the join was refused; it is tried again by itself. */
  dropped(isRefused: boolean): void
  /** The server has closed the channel; nothing more comes. */
  cut(): void
  event(event: string, payload: unknown): void
}

/** What became of a command. */
export type Outcome = { is: 'done' } | { is: 'refused'; error: ChatError } | { is: 'unknown' }

/** Refusals remembered until their command's reply comes. */
const MOST_REFUSALS = 50
const PATIENCE = 10_000

export class Channel {
  readonly #client: SupabaseClient
  readonly #topic: string
  readonly #listeners: Listeners
  readonly #refusals = new Map<string, ErrorPush>()
  /** Commands whose reply will not come once the connection is lost. */
  readonly #waiting = new Set<(outcome: Outcome) => void>()
  #channel: RealtimeChannel | undefined

  constructor(client: SupabaseClient, topic: string, listeners: Listeners) {
    this.#client = client
    this.#topic = topic
    this.#listeners = listeners
  }

  get isJoined(): boolean {
    return this.#channel?.state === 'joined' && this.#client.realtime.isConnected()
  }

  get isOpen(): boolean {
    return this.#channel !== undefined
  }

  join(): void {
    if (this.#channel) return
    // `self`: one's own messages come in their turn too, with their place in the room.
    const config = { private: true, broadcast: { ack: true, self: true } }
    const channel = this.#client.channel(this.#topic, { config })
    this.#channel = channel
    channel.on('broadcast', { event: '*' }, ({ event, payload }) => {
      if (event === 'chat:error') this.#refused(payload as ErrorPush)
      this.#listeners.event(event, payload)
    })
    channel.subscribe((status) => {
      // One that was left says so late.
      if (this.#channel !== channel) return
      if (status === 'SUBSCRIBED') return this.#listeners.joined()
      this.#forget()
      if (status !== 'CLOSED') return this.#listeners.dropped(this.#client.realtime.isConnected())
      this.#channel = undefined
      this.#listeners.cut()
    })
  }

  leave(): void {
    const channel = this.#channel
    if (!channel) return
    this.#channel = undefined
    this.#forget()
    void this.#client.removeChannel(channel)
  }

  /** Has the server do something. `unknown` if no answer came: it may be done or not. */
  async push(event: string, payload: Record<string, unknown>): Promise<Outcome> {
    const channel = this.#channel
    if (!channel || !this.isJoined) return { is: 'unknown' }
    const key = refusalKey(event, payload.id)
    this.#refusals.delete(key)
    let drop!: (outcome: Outcome) => void
    const dropped = new Promise<Outcome>((resolve) => (drop = resolve))
    this.#waiting.add(drop)
    const answered = channel
      .send({ type: 'broadcast', event, payload }, { timeout: PATIENCE })
      .then((answer): Outcome => {
        if (answer === 'ok') return { is: 'done' }
        const refusal = this.#refusals.get(key)
        this.#refusals.delete(key)
        if (answer !== 'error' || !refusal) return { is: 'unknown' }
        const { code, message, current_version } = refusal
        return { is: 'refused', error: new ChatError(errorCode(code), message, current_version) }
      })
    const outcome = await Promise.race([answered, dropped])
    this.#waiting.delete(drop)
    return outcome
  }

  #refused(refusal: ErrorPush): void {
    if (this.#refusals.size >= MOST_REFUSALS) this.#refusals.clear()
    this.#refusals.set(refusalKey(refusal.verb, refusal.id), refusal)
  }

  #forget(): void {
    for (const drop of this.#waiting) drop({ is: 'unknown' })
    this.#waiting.clear()
    this.#refusals.clear()
  }
}

/** Official clients hide the reply's body, so the refusal comes as an event before it. */
function refusalKey(verb: string, id: unknown): string {
  return `${verb} ${String(id ?? '')}`
}
