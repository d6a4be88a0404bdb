/** Who is online, of everybody met in any room. */

import { Emitter } from './emitter.js'
import type { Http } from './http.js'
import { Recent } from './recent.js'
import type { Status } from './types.js'

/** Users of one question to the server. */
const MOST_ASKED = 100
/** Users who are remembered. */
const MOST_KNOWN = 10_000
/** How long a question waits for others, in milliseconds. */
const SOON = 50

export class Statuses extends Emitter<{ change: Status }> {
  readonly #known = new Recent<Status>(MOST_KNOWN)
  readonly #http: Http
  /** For each question under way, who was told of meanwhile: a push is newer than the answer. */
  readonly #asking = new Set<Set<string>>()
  /** Those of the next question. */
  #wondering = new Set<string>()

  constructor(http: Http) {
    super()
    this.#http = http
  }

  of(user: string): Status | undefined {
    return this.#known.of(user)
  }

  /** The server told it. */
  told(status: Status): void {
    for (const since of this.#asking) since.add(status.user_id)
    this.#set(status)
  }

  #set(status: Status): void {
    const known = this.#known.of(status.user_id)
    this.#known.set(status.user_id, status)
    if (known?.online === status.online && known.last_seen === status.last_seen) return
    this.emit('change', status)
  }

  /** Asks the server about users. */
  async ask(users: readonly string[]): Promise<void> {
    for (let at = 0; at < users.length; at += MOST_ASKED) await this.#ask(users.slice(at, at + MOST_ASKED))
  }

  async #ask(users: readonly string[]): Promise<void> {
    const since = new Set<string>()
    this.#asking.add(since)
    try {
      for (const status of await this.#http.statuses(users)) if (!since.has(status.user_id)) this.#set(status)
    } finally {
      this.#asking.delete(since)
    }
  }

  /** Asks about a user soon, together with others who come at the same time. */
  wonder(user: string): void {
    this.#wondering.add(user)
    if (this.#wondering.size > 1) return
    setTimeout(() => {
      const users = [...this.#wondering]
      this.#wondering.clear()
      // Nice to know: the next push or question mends it.
      this.ask(users).catch(() => undefined)
    }, SOON)
  }
}
