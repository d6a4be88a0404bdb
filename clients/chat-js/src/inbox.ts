/** What the server says on a room's channel, and where it belongs. */

import type { RoomState } from './state.js'
import type { Statuses } from './statuses.js'
import type * as wire from './types.js'

export interface Inbox {
  me: string
  state: RoomState
  statuses: Statuses
  push(push: wire.Push): void
  /** A message has arrived here. */
  got(seq: number): void
  /** Something may be missing. */
  reread(): void
}

export function hear({ me, state, statuses, push, got, reread }: Inbox, event: string, payload: unknown): void {
  switch (event) {
    case 'chat:message':
    case 'chat:message_updated':
    case 'chat:message_deleted': {
      const { message } = payload as { message: wire.Message }
      state.typing.set(message.sender_id, false)
      push({ event, message })
      return got(message.seq)
    }
    case 'chat:reaction':
      return push({ event, ...(payload as wire.ReactionPush) })
    case 'chat:receipt':
      return state.receipt(payload as wire.ReceiptPush)
    case 'chat:member': {
      const member = payload as wire.MemberPush
      state.member(member)
      // A guest who has become a member sees more.
      if (member.user_id === me && member.change !== 'left') reread()
      // Who was online before they came here is not told again.
      if (member.change === 'joined') statuses.wonder(member.user_id)
      return
    }
    case 'chat:typing': {
      const { user_id, typing } = payload as wire.TypingPush
      if (user_id !== me) state.typing.set(user_id, typing)
      return
    }
    case 'chat:status':
      return statuses.told(payload as wire.Status)
    // The server cannot tell whether one has everything.
    case 'chat:resync':
      return reread()
  }
}
