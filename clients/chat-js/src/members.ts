/** Members of one room as they come, go and read. Pure but for its own map. */

import { Recent } from './recent.js'
import type { Member, MemberPush, ReceiptPush } from './types.js'

/** Names that are remembered. */
const MOST_NAMES = 2_000

export class Members {
  #members: ReadonlyMap<string, Member> = new Map()
  /** For each reading of the list under way, what was told meanwhile: the list may not know it yet. */
  readonly #reading = new Set<MemberPush[]>()
  /** Those who left are still named beside what they wrote. */
  readonly #names = new Recent<string>(MOST_NAMES)

  get map(): ReadonlyMap<string, Member> {
    return this.#members
  }

  nameOf(user: string): string | undefined {
    return this.#members.get(user)?.name || this.#names.of(user)
  }

  /** Forgets everything: cursors may be further back than they were. */
  clear(): void {
    this.#members = new Map()
  }

  /** Takes the list that `read` gets, if it gets one. Tells whether. */
  async read(read: () => Promise<readonly Member[] | undefined>): Promise<boolean> {
    const since: MemberPush[] = []
    this.#reading.add(since)
    try {
      const members = await read()
      if (!members) return false
      this.replace(members)
      this.#reading.delete(since)
      for (const push of since) this.changed(push)
      return true
    } finally {
      this.#reading.delete(since)
    }
  }

  replace(members: readonly Member[]): void {
    this.#members = new Map(
      members.map((member) => [member.user_id, further(member, this.#members.get(member.user_id))]),
    )
    for (const member of members) this.#name(member.user_id, member.name)
  }

  changed(push: MemberPush): void {
    for (const since of this.#reading) since.push(push)
    const { user_id, name, role, change } = push
    if (name) this.#name(user_id, name)
    const members = new Map(this.#members)
    if (change === 'left') members.delete(user_id)
    else {
      const known = members.get(user_id) ?? newcomer(user_id)
      members.set(user_id, { ...known, name: name ?? known.name, role: role ?? known.role })
    }
    this.#members = members
  }

  receipt({ user_id, delivered_seq, read_seq }: ReceiptPush): void {
    const known = this.#members.get(user_id)
    if (!known) return
    const told = { ...known, last_delivered_seq: delivered_seq, last_read_seq: read_seq }
    this.#members = new Map(this.#members).set(user_id, further(told, known))
  }

  #name(user: string, name: string): void {
    if (name) this.#names.set(user, name)
  }
}

/** Cursors never go back, whichever news comes first. */
function further(member: Member, known: Member | undefined): Member {
  if (!known) return member
  return {
    ...member,
    last_delivered_seq: Math.max(member.last_delivered_seq, known.last_delivered_seq),
    last_read_seq: Math.max(member.last_read_seq, known.last_read_seq),
  }
}

function newcomer(user_id: string): Member {
  return { user_id, name: '', role: 'member', joined_at: '', last_delivered_seq: 0, last_read_seq: 0 }
}
