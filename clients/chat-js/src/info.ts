/** A room's line in the list, kept up to date by what is pushed. Pure. */

import type { Message, Push, ReceiptPush, RoomInfo } from './types.js'

export function infoAfter(info: RoomInfo, push: Push, me: string): RoomInfo {
  if (push.event === 'chat:reaction') return info
  const { message } = push
  if (!('sender_id' in message)) return info
  if (push.event === 'chat:message' && message.seq > info.last_seq) return arrived(info, message, me)
  if (info.last_message?.id !== message.id) return info
  return { ...info, last_message: message }
}

function arrived(info: RoomInfo, message: Message, me: string): RoomInfo {
  const isUnread = info.role !== null && message.sender_id !== me && message.seq > (info.last_read_seq ?? 0)
  return {
    ...info,
    last_seq: message.seq,
    last_rev: Math.max(info.last_rev, message.rev),
    last_message: message,
    last_message_at: message.created_at,
    unread_count: info.unread_count + (isUnread ? 1 : 0),
  }
}

/** What the server says now, unless pushes have told more already. */
export function infoLearned(known: RoomInfo | null, info: RoomInfo, loaded: readonly Message[], me: string): RoomInfo {
  if (!known) return info
  const { last_seq, last_rev, last_message, last_message_at, unread_count } = known
  const latest =
    last_rev > info.last_rev ? { ...info, last_seq, last_rev, last_message, last_message_at, unread_count } : info
  const read = known.last_read_seq ?? 0
  if (!info.role || read <= (info.last_read_seq ?? 0)) return latest
  return infoRead(latest, { delivered_seq: known.last_delivered_seq ?? 0, read_seq: read }, loaded, me)
}

/** One's own cursors, moved here or on another device. `loaded` are messages to count in. */
export function infoRead(info: RoomInfo, { delivered_seq, read_seq }: Omit<ReceiptPush, 'user_id'>, loaded: readonly Message[], me: string): RoomInfo {
  const before = info.last_read_seq ?? 0
  const read = Math.max(before, read_seq)
  const delivered = Math.max(info.last_delivered_seq ?? 0, delivered_seq, read)
  return { ...info, last_delivered_seq: delivered, last_read_seq: read, unread_count: unread(info, before, read, loaded, me) }
}

function unread(info: RoomInfo, before: number, read: number, loaded: readonly Message[], me: string): number {
  if (read >= info.last_seq) return 0
  const isAllLoaded = loaded.length > 0 && loaded[0]!.seq <= read + 1
  if (!isAllLoaded) return Math.max(0, info.unread_count - (read - before))
  return loaded.filter((message) => message.seq > read && message.sender_id !== me && !message.deleted_at).length
}
