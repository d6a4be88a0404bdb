/** Who is typing: told at most every three seconds, and over by itself. */

/** The server passes one on in so long. */
const AGAIN = 3_000
/** It says that somebody stopped after 6 s; this is for when that does not come. */
const LONGEST = 8_000

export class Typing {
  readonly #users = new Map<string, ReturnType<typeof setTimeout>>()
  readonly #changed: () => void
  #toldAt = -Infinity

  constructor(changed: () => void) {
    this.#changed = changed
  }

  get users(): readonly string[] {
    return [...this.#users.keys()]
  }

  /** Somebody else types, or does no more. */
  set(user: string, typing: boolean): void {
    const before = this.#users.get(user)
    clearTimeout(before)
    if (typing) this.#users.set(user, setTimeout(() => this.set(user, false), LONGEST))
    else this.#users.delete(user)
    if ((before !== undefined) !== typing) this.#changed()
  }

  clear(): void {
    for (const user of [...this.#users.keys()]) this.set(user, false)
  }

  /** Whether that one types oneself is to be told (again) now. */
  isDue(now: number): boolean {
    if (now - this.#toldAt < AGAIN) return false
    this.#toldAt = now
    return true
  }

  /** One has stopped. Returns whether that is to be told. */
  stop(now: number): boolean {
    const wasTold = now - this.#toldAt < LONGEST
    this.#toldAt = -Infinity
    return wasTold
  }
}
