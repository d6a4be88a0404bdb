/** Reads what a room has that is not known yet: when it is opened, after a reconnect, where a push is missing. */

import { asChatError, type ChatError } from './errors.js'
import type { Http } from './http.js'
import { backoff } from './outbox.js'
import type { RoomState } from './state.js'
import type { Statuses } from './statuses.js'
import type { RoomInfo } from './types.js'

/** Messages of a page. */
export const PAGE = 50
/** Members whose cursors are read; of larger rooms only these have ticks. */
const MOST_MEMBERS = 100

export interface Reader {
  http: Http
  statuses: Statuses
  state: RoomState
  learn(info: RoomInfo): void
  failed(error: ChatError): void
}

export class Sync {
  readonly #room: string
  readonly #reader: Reader
  /** Counts: an earlier one that is still under way has nothing more to say. */
  #run = 0

  constructor(room: string, reader: Reader) {
    this.#room = room
    this.#reader = reader
  }

  stop(): void {
    this.#run += 1
    const { state } = this.#reader
    if (state.timeline.phase !== 'empty') state.dispatch({ type: 'sync' })
  }

  /** Tries until it succeeds, is refused, or is stopped. */
  async start(): Promise<void> {
    const run = (this.#run += 1)
    const isCurrent = () => run === this.#run
    this.#reader.state.dispatch({ type: 'sync' })
    for (let tries = 0; isCurrent(); tries += 1) {
      try {
        return await this.#read(isCurrent)
      } catch (thrown) {
        const error = asChatError(thrown)
        if (!isCurrent()) return
        if (!error.isTransient) return this.#reader.failed(error)
      }
      await pause(backoff(tries))
    }
  }

  async #read(isCurrent: () => boolean): Promise<void> {
    const { http, statuses, state, learn } = this.#reader
    const { position } = state.timeline
    const [missed, page, info] = await Promise.all([
      position && http.resume(this.#room, position),
      http.messages(this.#room, { limit: PAGE }),
      http.room(this.#room),
    ])
    if (!isCurrent()) return
    learn(info)
    if (missed && !missed.limited) {
      state.dispatch({ type: 'missed', missed })
      state.dispatch({ type: 'refreshed', page })
    } else {
      state.dispatch({ type: 'newest', page })
    }
    if (!info.role) return
    const { members } = await http.members(this.#room, { limit: MOST_MEMBERS })
    if (!isCurrent()) return
    state.members.replace(members)
    state.changed()
    // Who is online is nice to know and no reason to read everything again.
    await statuses.ask(members.map((member) => member.user_id)).catch(() => undefined)
    state.changed()
  }
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
