/** What the server says, as it says it. Times are ISO 8601, ids are UUIDs. */

/** One emoji on a message. */
export interface Reaction {
  emoji: string
  count: number
  /** The first ten who reacted. */
  users: readonly string[]
  /** Whether the signed-in user is one of them. */
  mine: boolean
}

/** A message as the server knows it. */
export interface Message {
  id: string
  room_id: string
  /** The place in the room: 1, 2, 3 … */
  seq: number
  /** The room's count of changes when this message last changed. */
  rev: number
  /** What an edit has to name. */
  version: number
  sender_id: string
  /** `null` once the message is deleted. */
  content: string | null
  reply_to: string | null
  created_at: string
  edited_at: string | null
  deleted_at: string | null
  /** Absent in pushes, which tell reactions one by one. */
  reactions?: readonly Reaction[]
}

export type Role = 'owner' | 'admin' | 'member'
export type Visibility = 'private' | 'public'

/** A room as the signed-in user sees it. Who is no member has no role and no cursors. */
export interface RoomInfo {
  id: string
  name: string | null
  visibility: Visibility
  created_by: string | null
  created_at: string
  last_seq: number
  last_rev: number
  member_count: number
  last_message_at: string | null
  role: Role | null
  last_delivered_seq: number | null
  last_read_seq: number | null
  unread_count: number
  last_message: Message | null
}

/** A member of a room, with how far they have got and read. */
export interface Member {
  user_id: string
  name: string
  role: Role
  joined_at: string
  last_delivered_seq: number
  last_read_seq: number
}

/** Where a room stood when something was read. */
export interface Position {
  seq: number
  rev: number
}

/** A page of a room's messages, oldest first. */
export interface Page {
  messages: readonly Message[]
  has_more: boolean
  head: Position
}

/** What changed since a position; `limited` if it is too much to tell. */
export interface Missed {
  messages: readonly Message[]
  head: Position
  limited: boolean
}

/** Who has got and read a message. */
export interface Receipts {
  members: number
  delivered: number
  read: number
  /** One for each member who has it; empty in large rooms, which keep counts only. */
  receipts: readonly { user_id: string; name: string; delivered_at: string; read_at: string | null }[]
}

/** Whether a user is connected, and when they last were. */
export interface Status {
  user_id: string
  online: boolean
  last_seen: string | null
}

/** A message that was removed from the table, of which only the place is left. */
export interface Removed {
  id: string
  room_id: string
  seq: number
}

export interface ReactionPush {
  message_id: string
  user_id: string
  emoji: string
  added: boolean
}

export interface ReceiptPush {
  user_id: string
  delivered_seq: number
  read_seq: number
}

export interface MemberPush {
  user_id: string
  name?: string
  role?: Role
  change: 'joined' | 'updated' | 'left'
}

export interface TypingPush {
  user_id: string
  typing: boolean
}

export interface ErrorPush {
  verb: string
  id?: string
  code: string
  message: string
  current_version?: number
}

/** What changes a timeline, in the order in which the server says it. */
export type Push =
  | { event: 'chat:message' | 'chat:message_updated'; message: Message }
  | { event: 'chat:message_deleted'; message: Message | Removed }
  | ({ event: 'chat:reaction' } & ReactionPush)
