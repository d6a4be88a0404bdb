export { Chat, createChat, type ChatEvents, type ChatOptions } from './chat.js'
export { ChatError, type ErrorCode } from './errors.js'
export { Room } from './room.js'
export type { Connection, RoomEvents, RoomSnapshot } from './state.js'
export { Rooms, type RoomsSnapshot } from './rooms.js'
export { claimsOf, type Claims } from './token.js'
export { emptyTimeline, reduce, type Action, type Draft, type Timeline } from './timeline.js'
export type { Tick } from './receipts.js'
export type {
  Member,
  MemberPush,
  Message,
  Missed,
  Page,
  Position,
  Push,
  Reaction,
  ReactionPush,
  ReceiptPush,
  Receipts,
  Removed,
  Role,
  RoomInfo,
  Status,
  Visibility,
} from './types.js'
