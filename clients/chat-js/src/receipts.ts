/** Ticks from the members' cursors, and the own cursors on their way to the server. */

import { backoff } from './outbox.js'
import type { Member, Message } from './types.js'

/** How far a message of one's own has come. */
export interface Tick {
  /** `delivered` and `read` as soon as one other member has it, or has read it. */
  state: 'sent' | 'delivered' | 'read'
  delivered: number
  read: number
  /** Members but the sender. */
  of: number
}

export function tickOf(message: Message, members: Iterable<Member>): Tick {
  const tick: Tick = { state: 'sent', delivered: 0, read: 0, of: 0 }
  for (const member of members) {
    if (member.user_id === message.sender_id) continue
    tick.of += 1
    if (member.last_delivered_seq >= message.seq) tick.delivered += 1
    if (member.last_read_seq >= message.seq) tick.read += 1
  }
  tick.state = tick.read > 0 ? 'read' : tick.delivered > 0 ? 'delivered' : 'sent'
  return tick
}

/** Cursors are told at most so often. */
const WINDOW = 300

/**
 * Tells the server how far one has got and read: only forward, the latest only, and again
 * after a failure. It is paused until it is started: while there is no connection, cursors gather.
 */
export class Marker {
  #wanted = { delivered: 0, read: 0 }
  #told = { delivered: 0, read: 0 }
  #isPaused = true
  #failures = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  readonly #tell: (event: 'chat:delivered' | 'chat:read', seq: number) => Promise<boolean>

  /** `tell` returns whether the server has taken it. */
  constructor(tell: (event: 'chat:delivered' | 'chat:read', seq: number) => Promise<boolean>) {
    this.#tell = tell
  }

  /** What the server knows already. */
  known(delivered: number, read: number): void {
    this.#told = { delivered: Math.max(delivered, this.#told.delivered), read: Math.max(read, this.#told.read) }
  }

  /** The server knows less than it did. */
  reset(): void {
    this.#wanted = { delivered: 0, read: 0 }
    this.#told = { delivered: 0, read: 0 }
  }

  start(): void {
    this.#isPaused = false
    void this.flush()
  }

  pause(): void {
    this.#isPaused = true
    this.#failures = 0
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  delivered(seq: number): void {
    if (seq > this.#wanted.delivered) {
      this.#wanted.delivered = seq
      this.#schedule()
    }
  }

  read(seq: number): void {
    if (seq > this.#wanted.read) {
      this.#wanted.read = seq
      this.#schedule()
    }
  }

  /** Tells what has not been told, now. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const { delivered, read } = this.#wanted
    let isTold = true
    // Who has read a message has got it, too.
    if (read > this.#told.read) {
      isTold = await this.#tell('chat:read', read)
      if (isTold) this.known(read, read)
    }
    if (isTold && delivered > this.#told.delivered) {
      isTold = await this.#tell('chat:delivered', delivered)
      if (isTold) this.known(delivered, 0)
    }
    if (isTold) this.#failures = 0
    else this.#schedule(backoff((this.#failures += 1)))
  }

  #schedule(wait = WINDOW): void {
    if (!this.#isPaused) this.#timer ??= setTimeout(() => void this.flush(), wait)
  }
}
