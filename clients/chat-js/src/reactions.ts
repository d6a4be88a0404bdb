/** Reactions of a message as they come and go. Pure. */

import type { Message, Reaction, ReactionPush } from './types.js'

/** As many names as the server tells. */
const NAMED = 10

/** The message after a reaction. Saying the same twice changes nothing. */
export function applyReaction(message: Message, push: ReactionPush, me: string): Message {
  if (message.deleted_at) return message
  const reactions = message.reactions ?? []
  const known = reactions.find(({ emoji }) => emoji === push.emoji)
  const after = push.added ? added(known, push, me) : taken(known, push, me)
  if (after === known) return message
  const others = (reaction: Reaction) => reaction.emoji !== push.emoji || after !== undefined
  const list = known
    ? reactions.filter(others).map((reaction) => (reaction === known ? after! : reaction))
    : [...reactions, after!]
  return { ...message, reactions: list }
}

function added(known: Reaction | undefined, { emoji, user_id }: ReactionPush, me: string): Reaction {
  const mine = user_id === me
  if (!known) return { emoji, count: 1, users: [user_id], mine }
  if (known.users.includes(user_id) || (mine && known.mine)) return known
  const users = known.users.length < NAMED ? [...known.users, user_id] : known.users
  return { emoji, count: known.count + 1, users, mine: known.mine || mine }
}

function taken(known: Reaction | undefined, { user_id }: ReactionPush, me: string): Reaction | undefined {
  const mine = user_id === me
  const isUnnamed = known && known.count > known.users.length
  if (!known || !(known.users.includes(user_id) || (mine ? known.mine : isUnnamed))) return known
  if (known.count <= 1) return undefined
  const users = known.users.filter((user) => user !== user_id)
  return { ...known, count: known.count - 1, users, mine: known.mine && !mine }
}
