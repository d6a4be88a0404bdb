/** One's rooms, the one with the newest message first, kept up to date. */

import { asChatError, type ChatError } from './errors.js'
import { Emitter } from './emitter.js'
import type { Http } from './http.js'
import type { Room } from './room.js'
import type { RoomInfo } from './types.js'

/** Rooms that are listened to; a socket has no end of channels. Those further down wait for the next read. */
const MOST_HEARD = 60
const PAGE = 100
/** Of which the list has so many. */
const MOST_PAGES = 5

export interface RoomsSnapshot {
  rooms: readonly RoomInfo[]
  isLoaded: boolean
  error: ChatError | null
}

export class Rooms extends Emitter<{ change: RoomsSnapshot }> {
  readonly #http: Http
  readonly #room: (id: string) => Room
  readonly #listening = new Map<string, () => void>()
  #snapshot: RoomsSnapshot = { rooms: [], isLoaded: false, error: null }
  #running = Promise.resolve()
  #next: Promise<void> | undefined
  #isClosed = false

  /** @internal It comes from `chat.rooms()`. */
  constructor(http: Http, room: (id: string) => Room) {
    super()
    this.#http = http
    this.#room = room
  }

  get snapshot(): RoomsSnapshot {
    return this.#snapshot
  }

  /**
   * Reads the list, once more if it is being read: that answer may lack the news. It happens
   * by itself after a reconnect and when one is invited.
   */
  refresh(): Promise<void> {
    this.#next ??= this.#running.then(() => {
      this.#next = undefined
      this.#running = this.#refresh()
      return this.#running
    })
    return this.#next
  }

  /** @internal The chat is closed: what is still being read is not listened to. */
  close(): void {
    this.#isClosed = true
  }

  async #refresh(): Promise<void> {
    try {
      const infos: RoomInfo[] = []
      let before: string | undefined
      for (let page = 0; page < MOST_PAGES; page += 1) {
        const { rooms, next } = await this.#http.rooms(PAGE, before)
        infos.push(...rooms)
        if (!next) break
        before = next
      }
      if (this.#isClosed) return
      infos.forEach((info, at) => this.#listen(info, at < MOST_HEARD))
      for (const id of this.#listening.keys()) {
        if (!infos.some((info) => info.id === id)) this.#forget(id)
      }
      this.#set({ rooms: sorted(infos.map((info) => this.#room(info.id).snapshot.info ?? info)), isLoaded: true, error: null })
    } catch (error) {
      this.#set({ ...this.#snapshot, error: asChatError(error) })
    }
  }

  #listen(info: RoomInfo, isHeard: boolean): void {
    const room = this.#room(info.id)
    room.learn(info)
    if (!this.#listening.has(info.id)) {
      const stops = [
        room.on('change', ({ info }) => info && this.#update(info)),
        room.on('removed', () => this.#forget(info.id)),
      ]
      this.#listening.set(info.id, () => stops.forEach((stop) => stop()))
    }
    room.listed(isHeard)
  }

  #update(info: RoomInfo): void {
    const { rooms } = this.#snapshot
    const known = rooms.find(({ id }) => id === info.id)
    if (!known || known === info || !info.role) return
    this.#set({ ...this.#snapshot, rooms: sorted(rooms.map((room) => (room === known ? info : room))) })
  }

  #forget(id: string): void {
    this.#listening.get(id)?.()
    this.#listening.delete(id)
    this.#set({ ...this.#snapshot, rooms: this.#snapshot.rooms.filter((room) => room.id !== id) })
  }

  #set(snapshot: RoomsSnapshot): void {
    this.#snapshot = snapshot
    this.emit('change', snapshot)
  }
}

function sorted(rooms: RoomInfo[]): RoomInfo[] {
  const time = (room: RoomInfo) => Date.parse(room.last_message_at ?? room.created_at)
  return rooms.sort((a, b) => time(b) - time(a))
}
