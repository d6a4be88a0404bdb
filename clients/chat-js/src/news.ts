/** Which changes of a timeline are worth an event: each once, and only what is new. Pure. */

import { isAnew, messageOf, type Action, type Timeline } from './timeline.js'
import type { Message, Page, Push } from './types.js'

export function news(before: Timeline, after: Timeline, action: Action): readonly Push[] {
  if (after.phase !== 'live') return []
  switch (action.type) {
    case 'push':
      return unknown(before, after, [action.push])
    case 'missed':
      if (isAnew(before, action)) return anew(before, after, action.page)
      return unknown(before, after, [...asPushes(before, action.missed.messages), ...before.buffer])
    case 'newest':
      return anew(before, after, action.page)
    default:
      return []
  }
}

/** What was there before the room was opened is no news. */
function anew(before: Timeline, after: Timeline, page: Page): readonly Push[] {
  const from = before.position?.seq ?? page.head.seq
  const later = page.messages.filter(({ seq }) => seq > from)
  const waiting = before.buffer.filter((push) => push.event !== 'chat:message' || push.message.seq > page.head.seq)
  return unknown(before, after, [...asPushes(before, later), ...waiting])
}

function asPushes(before: Timeline, messages: readonly Message[]): Push[] {
  return messages.map((message) => {
    if (message.deleted_at) return { event: 'chat:message_deleted', message }
    const isNew = message.seq > (before.position?.seq ?? 0)
    return { event: isNew ? 'chat:message' : 'chat:message_updated', message }
  })
}

function unknown(before: Timeline, after: Timeline, pushes: readonly Push[]): Push[] {
  const revs = new Map<string, number>()
  return pushes.filter((push) => {
    if (push.event === 'chat:reaction') {
      return messageOf(before, push.message_id) !== messageOf(after, push.message_id)
    }
    const { message } = push
    if (!('rev' in message)) return messageOf(before, message.id) !== undefined
    const rev = revs.get(message.id) ?? knownRev(before, push.event, message)
    if (message.rev <= rev) return false
    revs.set(message.id, message.rev)
    return true
  })
}

/** A new message is known by its place: the answer to one's own command may come before the push. */
function knownRev(before: Timeline, event: Push['event'], message: Message): number {
  if (event !== 'chat:message') return messageOf(before, message.id)?.rev ?? 0
  return before.position !== null && message.seq <= before.position.seq ? Infinity : 0
}
