/**
 * Messages on their way, one after the other, so that they arrive in the order in
 * which they were written. A retry has the same id, so the server keeps one.
 */

import { asChatError, type ChatError } from './errors.js'

/** So often the server may say that it is busy. Being away from it does not count. */
const MOST_REFUSALS = 6
const FIRST_WAIT = 500
const LONGEST_WAIT = 10_000

export interface Letter {
  id: string
  content: string
  reply_to: string | null
}

export class Outbox {
  readonly #letters: Letter[] = []
  readonly #send: (letter: Letter) => Promise<void>
  readonly #failed: (letter: Letter, error: ChatError) => void
  #isRunning = false
  #wake: (() => void) | undefined

  /** `send` resolves once the message is committed. */
  constructor(send: (letter: Letter) => Promise<void>, failed: (letter: Letter, error: ChatError) => void) {
    this.#send = send
    this.#failed = failed
  }

  add(letter: Letter): void {
    if (this.#letters.some(({ id }) => id === letter.id)) return
    this.#letters.push(letter)
    void this.#run()
  }

  /** Tries again at once what waits, as after a reconnect. */
  kick(): void {
    this.#wake?.()
  }

  /** Gives everything up. */
  clear(): void {
    this.#letters.length = 0
    this.kick()
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return
    this.#isRunning = true
    for (let letter = this.#letters[0]; letter; letter = this.#letters[0]) {
      const error = await this.#deliver(letter)
      if (this.#letters[0] !== letter) continue
      this.#letters.shift()
      if (error) this.#failed(letter, error)
    }
    this.#isRunning = false
  }

  async #deliver(letter: Letter): Promise<ChatError | undefined> {
    let refusals = 0
    for (let tries = 0; this.#letters[0] === letter; tries += 1) {
      try {
        await this.#send(letter)
        return undefined
      } catch (thrown) {
        const error = asChatError(thrown)
        if (error.code !== 'network') refusals += 1
        if (!error.isTransient || refusals >= MOST_REFUSALS) return error
      }
      await this.#pause(tries)
    }
    return undefined
  }

  async #pause(tries: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, backoff(tries))
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#wake = undefined
  }
}

/** Milliseconds before the next try: doubling, and spread so that clients do not come back all at once. */
export function backoff(tries: number): number {
  return Math.min(FIRST_WAIT * 2 ** tries, LONGEST_WAIT) * (0.75 + Math.random() / 2)
}
