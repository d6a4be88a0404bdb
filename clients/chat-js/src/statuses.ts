/** Who is online, of everybody met in any room. */

import { Emitter } from './emitter.js'
import type { Http } from './http.js'
import { Recent } from './recent.js'
import type { Status } from './types.js'

/** Users of one question to the server. */
const MOST_ASKED = 100
/** Users who are remembered. */
const MOST_KNOWN = 10_000

export class Statuses extends Emitter<{ change: Status }> {
  readonly #known = new Recent<Status>(MOST_KNOWN)
  readonly #http: Http

  constructor(http: Http) {
    super()
    this.#http = http
  }

  of(user: string): Status | undefined {
    return this.#known.of(user)
  }

  set(status: Status): void {
    const known = this.#known.of(status.user_id)
    this.#known.set(status.user_id, status)
    if (known?.online === status.online && known.last_seen === status.last_seen) return
    this.emit('change', status)
  }

  /** Asks the server about users. */
  async ask(users: readonly string[]): Promise<void> {
    for (let at = 0; at < users.length; at += MOST_ASKED) {
      const statuses = await this.#http.statuses(users.slice(at, at + MOST_ASKED))
      for (const status of statuses) this.set(status)
    }
  }
}
