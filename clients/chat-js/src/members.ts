/** Members of one room as they come, go and read. Pure but for its own map. */

import { Recent } from './recent.js'
import type { Member, MemberPush, ReceiptPush } from './types.js'

/** Names that are remembered. */
const MOST_NAMES = 2_000

export class Members {
  #members: ReadonlyMap<string, Member> = new Map()
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

  replace(members: readonly Member[]): void {
    this.#members = new Map(
      members.map((member) => [member.user_id, further(member, this.#members.get(member.user_id))]),
    )
    for (const member of members) this.#name(member.user_id, member.name)
  }

  changed({ user_id, name, role, change }: MemberPush): void {
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
