import { createContext, useCallback, useContext, useEffect, useRef, useState, useSyncExternalStore } from 'react'

import type { Chat } from '@rowcast/chat'

import type { Session } from './session'

interface Source<T> {
  readonly snapshot: T
  on(event: 'change', listener: () => void): () => void
}

/** What a room, or the list of rooms, is now. */
export function useSnapshot<T>(source: Source<T>): T {
  const subscribe = useCallback((listener: () => void) => source.on('change', listener), [source])
  const read = useCallback(() => source.snapshot, [source])
  return useSyncExternalStore(subscribe, read, read)
}

interface Signed {
  chat: Chat
  session: Session
  /** Says something to people who listen to the screen. */
  announce(text: string): void
  /** Says something that went wrong to everybody. */
  complain(error: unknown): void
}

export const SignedContext = createContext<Signed | null>(null)

export function useSigned(): Signed {
  const signed = useContext(SignedContext)
  if (!signed) throw new Error('nobody is signed in')
  return signed
}

/** The room in the address, `#/room/<id>`, so that links and the back button work. */
export function useRoute(): [string | null, (room: string | null) => void] {
  const [room, setRoom] = useState<string | null>(null)
  useEffect(() => {
    const read = () => setRoom(roomOfHash(location.hash))
    read()
    addEventListener('hashchange', read)
    return () => removeEventListener('hashchange', read)
  }, [])
  const go = useCallback((id: string | null) => {
    location.hash = id ? `/room/${id}` : '/'
  }, [])
  return [room, go]
}

const UUID = /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}/i

export function roomOfHash(hash: string): string | null {
  return hash.startsWith('#/room/') ? idIn(hash) : null
}

/** The id in a link, or in anything else that somebody may paste. */
export function idIn(text: string): string | null {
  return UUID.exec(text)?.[0].toLowerCase() ?? null
}

/** A value that changes do not have to be told about. */
export function useLatest<T>(value: T): { readonly current: T } {
  const ref = useRef(value)
  useEffect(() => {
    ref.current = value
  })
  return ref
}

/** The time, once a minute. */
export function useMinute(): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 60_000)
    return () => clearInterval(timer)
  }, [])
  return now
}
