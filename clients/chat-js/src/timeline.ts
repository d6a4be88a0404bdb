/**
 * What a room's messages are, as a pure function of what was read, pushed and sent.
 *
 * Invariants: `messages` are sorted by `seq` and each is there once; whatever is
 * older than the first one is not loaded, whatever is newer is there. A message
 * is in `drafts` or in `messages`, never in both. `position` is up to where
 * everything is known; it is what a resume starts from.
 *
 * While the timeline is not `live`, pushes wait in `buffer`: they belong behind
 * what is being read. There are no clocks and no requests in here.
 */

import type { ChatError } from './errors.js'
import { applyReaction } from './reactions.js'
import type { Message, Missed, Page, Position, Push, Removed } from './types.js'

/** More pushes do not wait: they are dropped, and what they said is read. */
export const MOST_WAITING = 500

/** A message of one's own that the server has not confirmed. */
export interface Draft {
  id: string
  content: string
  reply_to: string | null
  /** When it was written, by this machine's clock. */
  created_at: string
  state: 'sending' | 'failed'
  error?: ChatError
}

export interface Timeline {
  readonly me: string
  /** `gap`: a push was out of turn, or too many waited, so something is to be read. */
  readonly phase: 'empty' | 'syncing' | 'gap' | 'live'
  readonly messages: readonly Message[]
  readonly drafts: readonly Draft[]
  readonly hasOlder: boolean
  readonly position: Position | null
  readonly buffer: readonly Push[]
}

export type Action =
  /** From now on pushes wait, until `newest` or `missed`. */
  | { type: 'sync' }
  /** The connection is lost. What waited is read again: by then it may no longer be so. */
  | { type: 'drop' }
  | { type: 'newest'; page: Page }
  /** The newest page beside it has the reactions, and shows what is no longer there. */
  | { type: 'missed'; missed: Missed; page: Page }
  | { type: 'older'; page: Page }
  | { type: 'push'; push: Push }
  | { type: 'send'; draft: Draft }
  | { type: 'fail'; id: string; error: ChatError }
  | { type: 'retry'; id: string }
  | { type: 'discard'; id: string }
  /** The server's answer to a command of one's own. */
  | { type: 'answer'; message: Message }

export function emptyTimeline(me: string): Timeline {
  return { me, phase: 'empty', messages: [], drafts: [], hasOlder: false, position: null, buffer: [] }
}

export function reduce(timeline: Timeline, action: Action): Timeline {
  switch (action.type) {
    case 'sync':
      return { ...timeline, phase: 'syncing' }
    case 'drop':
      return { ...timeline, phase: timeline.phase === 'empty' ? 'empty' : 'syncing', buffer: [] }
    case 'newest':
      return drain(newest(timeline, action.page))
    case 'missed':
      return drain(isAnew(timeline, action) ? newest(timeline, action.page) : missed(timeline, action))
    case 'older':
      return older(timeline, action.page)
    case 'push':
      return timeline.phase === 'live' && !isOutOfTurn(timeline, action.push)
        ? pushed(timeline, action.push)
        : waiting(timeline, action.push)
    case 'send':
      if (holds(timeline, action.draft.id)) return timeline
      return { ...timeline, drafts: [...timeline.drafts, action.draft] }
    case 'fail':
      return redraft(timeline, action.id, (draft) => ({ ...draft, state: 'failed', error: action.error }))
    case 'retry':
      return redraft(timeline, action.id, ({ error: _, ...draft }) => ({ ...draft, state: 'sending' }))
    case 'discard':
      return { ...timeline, drafts: timeline.drafts.filter((draft) => draft.id !== action.id) }
    case 'answer':
      return upsert(timeline, action.message)
  }
}

/** The message with an id, if it is loaded. */
export function messageOf(timeline: Timeline, id: string): Message | undefined {
  return timeline.messages.find((message) => message.id === id)
}

/** Whether more is known than the room has: its database is an earlier one, from a backup. */
export function isAhead(position: Position | null, head: Position): boolean {
  return position !== null && (position.seq > head.seq || position.rev > head.rev)
}

/** Whether what is loaded cannot be continued: too much was missed, or it is of another past. */
export function isAnew({ position }: Timeline, { missed, page }: { missed: Missed; page: Page }): boolean {
  return missed.limited || isAhead(position, page.head)
}

function holds(timeline: Timeline, id: string): boolean {
  return timeline.drafts.some((draft) => draft.id === id) || messageOf(timeline, id) !== undefined
}

function redraft(timeline: Timeline, id: string, change: (draft: Draft) => Draft): Timeline {
  return { ...timeline, drafts: timeline.drafts.map((draft) => (draft.id === id ? change(draft) : draft)) }
}

/** Replaces what is loaded: there may be a hole between it and the page. Answers from behind the page stay. */
function newest(timeline: Timeline, page: Page): Timeline {
  const isKept = ({ seq }: Message) => seq > page.head.seq && !isAhead(timeline.position, page.head)
  const known = timeline.messages.filter(isKept)
  const empty = { ...timeline, messages: [], hasOlder: page.has_more, position: page.head }
  return [...page.messages, ...known].reduce(upsert, empty)
}

function missed(timeline: Timeline, { missed: { messages, head }, page }: { missed: Missed; page: Page }): Timeline {
  return refreshed(messages.reduce(upsert, { ...timeline, position: further(timeline.position, head) }), page)
}

function older(timeline: Timeline, page: Page): Timeline {
  const wider = { ...timeline, hasOlder: false }
  return { ...page.messages.reduce(upsert, wider), hasOlder: page.has_more }
}

function refreshed(timeline: Timeline, page: Page): Timeline {
  const present = new Set(page.messages.map((message) => message.id))
  const from = page.has_more ? (page.messages[0]?.seq ?? Infinity) : 0
  const isGone = ({ id, seq }: Message) => seq >= from && seq <= page.head.seq && !present.has(id)
  const kept = { ...timeline, messages: timeline.messages.filter((message) => !isGone(message)) }
  return page.messages.reduce(upsert, kept)
}

function waiting(timeline: Timeline, push: Push): Timeline {
  if (timeline.buffer.length >= MOST_WAITING) return { ...timeline, phase: 'gap', buffer: [] }
  const phase = timeline.phase === 'live' ? 'gap' : timeline.phase
  return { ...timeline, phase, buffer: [...timeline.buffer, push] }
}

/** Ends a sync. What waited comes from behind what was read, so it is never out of turn. */
function drain(timeline: Timeline): Timeline {
  return timeline.buffer.reduce(pushed, { ...timeline, phase: 'live', buffer: [] })
}

function isOutOfTurn({ position }: Timeline, push: Push): boolean {
  return push.event === 'chat:message' && position !== null && push.message.seq > position.seq + 1
}

function pushed(timeline: Timeline, push: Push): Timeline {
  if (push.event === 'chat:reaction') return reacted(timeline, push)
  const { message } = push
  if (!isWhole(message)) {
    return { ...timeline, messages: timeline.messages.filter(({ id }) => id !== message.id) }
  }
  return { ...upsert(timeline, message), position: further(timeline.position, message) }
}

function reacted(timeline: Timeline, push: Push & { event: 'chat:reaction' }): Timeline {
  const messages = timeline.messages.map((message) =>
    message.id === push.message_id ? applyReaction(message, push, timeline.me) : message,
  )
  return { ...timeline, messages }
}

function isWhole(message: Message | Removed): message is Message {
  return 'sender_id' in message
}

function further(position: Position | null, head: Position): Position {
  return {
    seq: Math.max(position?.seq ?? 0, head.seq),
    rev: Math.max(position?.rev ?? 0, head.rev),
  }
}

/** Puts a message in its place, unless a later state of it is known. */
function upsert(timeline: Timeline, message: Message): Timeline {
  const drafts = timeline.drafts.some((draft) => draft.id === message.id)
    ? timeline.drafts.filter((draft) => draft.id !== message.id)
    : timeline.drafts
  const { messages } = timeline
  const at = place(messages, message.seq)
  const known = messages[at]
  if (known?.seq === message.seq) {
    // Another message in its place: the room's database is an earlier one, from a backup.
    const same = known.id === message.id ? known : undefined
    return { ...timeline, drafts, messages: messages.with(at, merge(same, message)) }
  }
  // Between what is loaded and this there would be a hole.
  if (at === 0 && timeline.hasOlder && messages.length > 0) return { ...timeline, drafts }
  return { ...timeline, drafts, messages: messages.toSpliced(at, 0, merge(undefined, message)) }
}

function merge(known: Message | undefined, message: Message): Message {
  const latest = known && known.rev > message.rev ? known : message
  const reactions = latest.deleted_at ? [] : (message.reactions ?? known?.reactions ?? [])
  return { ...latest, reactions }
}

/** Where a `seq` is or would be, from the end: that is where most things happen. */
function place(messages: readonly Message[], seq: number): number {
  let at = messages.length
  while (at > 0 && messages[at - 1]!.seq >= seq) at -= 1
  return at
}
