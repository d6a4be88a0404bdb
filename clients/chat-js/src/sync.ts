/** Reads what a room has that is not known yet: when it is opened, after a reconnect, where a push is missing. */

import { asChatError, type ChatError } from './errors.js'
import type { Http } from './http.js'
import { backoff } from './outbox.js'
import type { RoomState } from './state.js'
import type { Statuses } from './statuses.js'
import { isAhead } from './timeline.js'
import type { Member, RoomInfo } from './types.js'

/** Messages of a page. */
export const PAGE = 50
/** Members whose names and cursors are read, and how many at once; of larger rooms only these have ticks. */
const MOST_MEMBERS = 500
const MEMBERS_PAGE = 100

export interface Reader {
  http: Http
  statuses: Statuses
  state: RoomState
  learn(info: RoomInfo): void
  /** The room has less than is known of it: its database is an earlier one, from a backup. */
  setBack(): void
  /** A refusal that waiting alone does not mend. It is tried again all the same. */
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
    this.#reader.state.dispatch({ type: 'drop' })
  }

  /** Tries until it succeeds or is stopped: a token that has expired is a fresh one later. */
  async start(): Promise<void> {
    const run = (this.#run += 1)
    const isCurrent = () => run === this.#run
    const info = await this.#insist(isCurrent, () => this.#readMessages(isCurrent))
    if (info?.role) await this.#insist(isCurrent, () => this.#readMembers(isCurrent))
  }

  async #insist<T>(isCurrent: () => boolean, read: () => Promise<T>): Promise<T | undefined> {
    let said: string | undefined
    for (let tries = 0; isCurrent(); tries += 1) {
      try {
        return await read()
      } catch (thrown) {
        const error = asChatError(thrown)
        if (!isCurrent()) return
        // The same trouble is told once.
        if (!error.isTransient && error.code !== said) this.#reader.failed(error)
        said = error.code
      }
      await pause(backoff(tries))
    }
    return
  }

  async #readMessages(isCurrent: () => boolean): Promise<RoomInfo | undefined> {
    const { http, state, learn, setBack } = this.#reader
    state.dispatch({ type: 'sync' })
    const { position } = state.timeline
    const known = state.info && { seq: state.info.last_seq, rev: state.info.last_rev }
    const [missed, page, info] = await Promise.all([
      position && http.resume(this.#room, position),
      http.messages(this.#room, { limit: PAGE }),
      http.room(this.#room),
    ])
    if (!isCurrent()) return
    if (isAhead(position, page.head) || isAhead(known, page.head)) setBack()
    learn(info)
    state.dispatch(missed ? { type: 'missed', missed, page } : { type: 'newest', page })
    return info
  }

  async #readMembers(isCurrent: () => boolean): Promise<void> {
    const { http, statuses, state } = this.#reader
    const members: Member[] = []
    const isRead = await state.members.read(async () => {
      let after: string | undefined
      do {
        const page = await http.members(this.#room, { after, limit: MEMBERS_PAGE })
        members.push(...page.members)
        after = page.next ?? undefined
      } while (after && members.length < MOST_MEMBERS && isCurrent())
      return isCurrent() ? members : undefined
    })
    if (!isRead) return
    state.changed()
    // Who is online is nice to know and no reason to read everything again.
    await statuses.ask(members.map((member) => member.user_id)).catch(() => undefined)
    state.changed()
  }
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
