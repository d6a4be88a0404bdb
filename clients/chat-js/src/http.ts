/** The HTTP side: `/chat/v1`, one method for each thing one can ask. */

import { ChatError, errorCode } from './errors.js'
import type { Member, Message, Missed, Page, Receipts, Role, RoomInfo, Status, Visibility } from './types.js'

type Query = Record<string, string | number | undefined>

/** A request unanswered for so long counts as failed. */
const PATIENCE = 15_000

export interface HttpOptions {
  /** Where the server is, without `/chat/v1`. */
  baseUrl: string
  token: () => Promise<string>
  fetch?: typeof fetch
}

export class Http {
  readonly #options: HttpOptions

  constructor(options: HttpOptions) {
    this.#options = options
  }

  rooms(limit?: number, before?: string): Promise<{ rooms: RoomInfo[]; next: string | null }> {
    return this.#ask('GET', ['rooms'], { query: { limit, before } })
  }

  room(room: string): Promise<RoomInfo> {
    return this.#ask('GET', ['rooms', room])
  }

  createRoom(body: {
    id?: string
    name: string
    visibility?: Visibility
    members?: readonly string[]
  }): Promise<RoomInfo> {
    return this.#ask('POST', ['rooms'], { body })
  }

  join(room: string): Promise<unknown> {
    return this.#ask('POST', ['rooms', room, 'join'])
  }

  leave(room: string): Promise<unknown> {
    return this.#ask('POST', ['rooms', room, 'leave'])
  }

  members(
    room: string,
    query: { prefix?: string; after?: string; limit?: number } = {},
  ): Promise<{ members: Member[]; next: string | null }> {
    return this.#ask('GET', ['rooms', room, 'members'], { query })
  }

  invite(room: string, body: { user_id: string; name?: string; role?: Role }): Promise<Member> {
    return this.#ask('POST', ['rooms', room, 'members'], { body })
  }

  removeMember(room: string, user: string): Promise<unknown> {
    return this.#ask('DELETE', ['rooms', room, 'members', user])
  }

  messages(room: string, query: { before?: number; after?: number; limit?: number } = {}): Promise<Page> {
    return this.#ask('GET', ['rooms', room, 'messages'], { query })
  }

  resume(room: string, query: { seq: number; rev: number; limit?: number }): Promise<Missed> {
    return this.#ask('GET', ['rooms', room, 'resume'], { query })
  }

  send(room: string, body: { id: string; content: string; reply_to?: string }): Promise<Message> {
    return this.#ask('POST', ['rooms', room, 'messages'], { body })
  }

  edit(room: string, id: string, body: { content: string; version: number }): Promise<Message> {
    return this.#ask('PATCH', ['rooms', room, 'messages', id], { body })
  }

  delete(room: string, id: string, version?: number): Promise<Message> {
    return this.#ask('DELETE', ['rooms', room, 'messages', id], { query: { version } })
  }

  react(room: string, id: string, emoji: string, added: boolean): Promise<unknown> {
    return this.#ask(added ? 'PUT' : 'DELETE', ['rooms', room, 'messages', id, 'reactions', emoji])
  }

  receipts(room: string, id: string): Promise<Receipts> {
    return this.#ask('GET', ['rooms', room, 'messages', id, 'receipts'])
  }

  statuses(ids: readonly string[]): Promise<Status[]> {
    return this.#ask('GET', ['users', 'status'], { query: { ids: ids.join(',') } })
  }

  async #ask<T>(method: string, path: readonly string[], { query, body }: { query?: Query; body?: unknown } = {}): Promise<T> {
    const url = new URL(`${this.#options.baseUrl}/chat/v1/${path.map(segment).join('/')}`)
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value))
    }
    const headers: Record<string, string> = { authorization: `Bearer ${await this.#options.token()}` }
    if (body !== undefined) headers['content-type'] = 'application/json'
    let response: Response
    let answer: unknown
    try {
      response = await (this.#options.fetch ?? fetch)(url, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(PATIENCE),
      })
      answer = await response.json().catch(() => null)
    } catch {
      throw new ChatError('network', 'The server cannot be reached.')
    }
    if (response.ok) return answer as T
    const refusal = (answer ?? {}) as { code?: unknown; message?: unknown; current_version?: unknown }
    throw new ChatError(
      errorCode(refusal.code, response.status),
      typeof refusal.message === 'string' ? refusal.message : 'The server did not answer as it should.',
      typeof refusal.current_version === 'number' ? refusal.current_version : undefined,
    )
  }
}

/** A part of a path, and no more. */
function segment(name: string): string {
  // Encoded or not, a URL takes these for the way up, or for nothing.
  if (/^\.{0,2}$/.test(name)) throw new ChatError('bad_request', 'There is no such id and no such emoji.')
  return encodeURIComponent(name)
}
