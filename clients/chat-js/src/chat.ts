/** The way in: one signed-in user's chat. */

import { createClient, type RealtimeChannel, type SupabaseClient } from '@supabase/supabase-js'

import { Channel, type Listeners } from './channel.js'
import { ChatError } from './errors.js'
import { Emitter } from './emitter.js'
import { Http } from './http.js'
import { Room, type RoomContext } from './room.js'
import { Rooms } from './rooms.js'
import type { Connection } from './state.js'
import { Statuses } from './statuses.js'
import { claimsOf } from './token.js'
import type { RoomInfo, Status, Visibility } from './types.js'

/** Before the first try, the second, … to connect again. */
const RECONNECT = [200, 500, 1_000, 2_000, 5_000]

type Token = string | (() => string | Promise<string>)

export type ChatOptions = {
  /** The user's token, or what fetches a fresh one of the same user; it is asked whenever one is needed. */
  token?: Token
  fetch?: typeof fetch
} & (
  | { /** The server. */ url: string; /** The anon key. */ key: string; baseUrl?: string }
  | { /** Your client, with its session. */ supabase: SupabaseClient; /** The server. */ baseUrl: string }
)

export interface ChatEvents {
  connection: Connection
  status: Status
}

/**
 * Connects as the user of the token.
 *
 * Fails with a `ChatError` (`unauthorized`) if there is no token, or none with a `sub`.
 */
export async function createChat(options: ChatOptions): Promise<Chat> {
  const fetchToken = tokens(options)
  const { sub } = claimsOf(await fetchToken())
  if (!sub) throw new ChatError('unauthorized', 'The token names no user.')
  const token = async () => {
    const fresh = await fetchToken()
    // What is loaded is what `sub` may see.
    if (claimsOf(fresh).sub !== sub) throw new ChatError('unauthorized', "The token is another user's: make another chat.")
    return fresh
  }
  const client = 'supabase' in options ? options.supabase : connect(options.url, options.key, token)
  const baseUrl = 'supabase' in options ? options.baseUrl : (options.baseUrl ?? options.url)
  return new Chat(client, new Http({ baseUrl: baseUrl.replace(/\/+$/, ''), token, fetch: options.fetch }), sub)
}

function tokens(options: ChatOptions): () => Promise<string> {
  const { token } = options
  if (typeof token === 'string') return () => Promise.resolve(token)
  if (token) return async () => token()
  return async () => {
    const session = 'supabase' in options ? (await options.supabase.auth.getSession()).data.session : null
    if (!session) throw new ChatError('unauthorized', 'Nobody is signed in.')
    return session.access_token
  }
}

function connect(url: string, key: string, accessToken: () => Promise<string>): SupabaseClient {
  return createClient(url, key, {
    accessToken,
    realtime: {
      heartbeatIntervalMs: 15_000,
      reconnectAfterMs: (tries: number) => (RECONNECT[tries - 1] ?? 10_000) * (0.75 + Math.random() / 2),
    },
  })
}

export class Chat extends Emitter<ChatEvents> {
  /** The signed-in user's id. */
  readonly me: string
  readonly statuses: Statuses
  readonly http: Http
  readonly #client: SupabaseClient
  readonly #context: RoomContext
  readonly #all = new Map<string, Room>()
  #rooms: Rooms | undefined
  #invitations: RealtimeChannel | undefined
  #connection: Connection = 'connecting'
  #stopListening: () => void

  /** @internal Use `createChat`. */
  constructor(client: SupabaseClient, http: Http, me: string) {
    super()
    this.me = me
    this.http = http
    this.statuses = new Statuses(http)
    this.statuses.on('change', (status) => this.emit('status', status))
    this.#client = client
    const channel: RoomContext['channel'] = (topic, listeners) => new Channel(client, topic, this.#heeded(listeners))
    this.#context = { me, http, statuses: this.statuses, channel }
    this.#stopListening = onNetwork((isOnline) => this.#network(isOnline))
  }

  get connection(): Connection {
    return this.#connection
  }

  /** One's rooms. The first call starts to read and to listen. */
  rooms(): Rooms {
    if (!this.#rooms) {
      this.#rooms = new Rooms(this.http, (id) => this.room(id))
      this.#listenToInvitations()
      void this.#rooms.refresh()
    }
    return this.#rooms
  }

  /** One room, always the same object. It is still until `open` or `join`. */
  room(id: string): Room {
    let room = this.#all.get(id)
    if (!room) this.#all.set(id, (room = new Room(id, this.#context)))
    return room
  }

  async createRoom(
    name: string,
    options: { id?: string; visibility?: Visibility; members?: readonly string[] } = {},
  ): Promise<RoomInfo> {
    const info = await this.http.createRoom({ name, ...options })
    await this.#rooms?.refresh()
    return info
  }

  /** Joins a public room. */
  async joinRoom(id: string): Promise<void> {
    await this.http.join(id)
    await this.#rooms?.refresh()
  }

  /** Leaves every channel. A client that was given stays connected. */
  close(): void {
    this.#stopListening()
    this.#rooms?.close()
    for (const room of this.#all.values()) room.close()
    if (this.#invitations) void this.#client.removeChannel(this.#invitations)
    this.#invitations = undefined
  }

  /** Rows of `room_members` with one's own id: a room that one was taken into. */
  #listenToInvitations(): void {
    const filter = { event: 'INSERT', schema: 'public', table: 'room_members', filter: `user_id=eq.${this.me}` } as const
    const channel = this.#client.channel(`chat:${this.me}`).on('postgres_changes', filter, () => {
      void this.#rooms?.refresh()
    })
    channel.on('system', {}, ({ status }: { status?: string }) => {
      // From here on none is missed.
      if (status === 'ok') void this.#rooms?.refresh()
    })
    this.#invitations = channel.subscribe((status) => {
      if (status === 'SUBSCRIBED') this.#connect('online')
      else if (!this.#client.realtime.isConnected()) this.#connect('offline')
    })
  }

  /** Any channel tells of the connection. */
  #heeded(listeners: Listeners): Listeners {
    return {
      ...listeners,
      joined: () => {
        this.#connect('online')
        listeners.joined()
      },
      dropped: (isRefused) => {
        if (!isRefused) this.#connect('offline')
        listeners.dropped(isRefused)
      },
    }
  }

  #network(isOnline: boolean): void {
    if (!isOnline) return this.#connect('offline')
    if (this.#client.realtime.isConnected()) {
      this.#connect('online')
      void this.#client.realtime.sendHeartbeat()
    } else this.#client.realtime.connect()
  }

  #connect(connection: Connection): void {
    if (this.#connection === connection) return
    this.#connection = connection
    this.emit('connection', connection)
  }
}

/** What a browser knows about the network. */
function onNetwork(changed: (isOnline: boolean) => void): () => void {
  if (typeof globalThis.addEventListener !== 'function') return () => undefined
  const online = () => changed(true)
  const offline = () => changed(false)
  globalThis.addEventListener('online', online)
  globalThis.addEventListener('offline', offline)
  return () => {
    globalThis.removeEventListener('online', online)
    globalThis.removeEventListener('offline', offline)
  }
}
