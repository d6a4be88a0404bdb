/** Who is using the app, and with which token. */

import { claimsOf } from '@rowcast/chat'

export interface Session {
  /** Where the server is. */
  url: string
  key: string
  name: string
  token: () => Promise<string>
  /** Signed in by name, which `rowcast dev` alone allows. */
  isDev: boolean
}

/** The page's own origin, unless the app was built for a server elsewhere. */
export const SERVER = process.env.NEXT_PUBLIC_ROWCAST_URL
/** Origins of pages that may embed the app and hand it a token, beside its own. */
const HOSTS = (process.env.NEXT_PUBLIC_HOST_ORIGINS ?? '').split(' ').filter(Boolean)
const NAME = 'rowcast-chat-name'
/** A token is renewed so long before it ends. */
const EARLY = 60

const server = () => SERVER || location.origin

interface DevToken {
  token: string
  user_id: string
  name: string
  anon_key: string
}

/** Said to the person who signs in. */
export class SignInError extends Error {}

export async function devToken(name: string): Promise<DevToken> {
  const url = `${server()}/dev/token?name=${encodeURIComponent(name)}`
  const response = await fetch(url).catch(() => {
    throw new SignInError('The server cannot be reached.')
  })
  if (response.status === 404) {
    throw new SignInError('This server does not sign in by name. Open the chat from the page that it belongs to.')
  }
  const answer: unknown = await response.json().catch(() => null)
  if (!response.ok) {
    const message = (answer as { message?: string } | null)?.message
    throw new SignInError(message ?? 'Signing in did not work.')
  }
  return answer as DevToken
}

/** Signs in by name and remembers the name, never the token. */
export async function signIn(name: string): Promise<Session> {
  let current = await devToken(name)
  localStorage.setItem(NAME, current.name)
  const token = async () => {
    const { exp } = claimsOf(current.token)
    if (exp !== undefined && exp - EARLY < Date.now() / 1000) current = await devToken(name)
    return current.token
  }
  return { url: server(), key: current.anon_key, name: current.name, token, isDev: true }
}

export const rememberedName = () => localStorage.getItem(NAME)
export const signOut = () => localStorage.removeItem(NAME)

interface Handed {
  token: string
  key?: string
}

/**
 * A token from the host page: in the fragment of the address (`#token=…&key=…`), or as a
 * message `{ type: 'rowcast:token', token, key }` to the frame that the app is in. A later
 * message replaces the token; if it is another user's, they are signed in.
 */
export function sessionOfHost(found: (session: Session) => void): () => void {
  let handed: Handed | null = null
  const take = ({ token, key }: Handed) => {
    const claims = claimsOf(token)
    if (handed && claimsOf(handed.token).sub === claims.sub) return void (handed.token = token)
    // A session keeps to its user's tokens.
    const own: Handed = { token, key: key ?? handed?.key }
    handed = own
    const name = claims.user_metadata?.name ?? claims.name ?? 'Me'
    found({ url: server(), key: own.key ?? token, name, token: () => Promise.resolve(own.token), isDev: false })
  }
  const hear = (event: MessageEvent) => {
    const isHost = event.source === window.parent && (event.origin === location.origin || HOSTS.includes(event.origin))
    const data = event.data as { type?: string; token?: unknown; key?: unknown } | null
    if (!isHost || data?.type !== 'rowcast:token' || typeof data.token !== 'string') return
    take({ token: data.token, key: typeof data.key === 'string' ? data.key : undefined })
  }
  addEventListener('message', hear)
  const inAddress = takeFragment()
  if (inAddress) take(inAddress)
  else if (window.parent !== window) for (const host of [location.origin, ...HOSTS]) ask(host)
  return () => removeEventListener('message', hear)
}

function ask(origin: string): void {
  window.parent.postMessage({ type: 'rowcast:ready' }, origin)
}

/** Takes the token out of the address, so that it is in no bookmark and no history. */
function takeFragment(): Handed | null {
  const fragment = new URLSearchParams(location.hash.slice(1))
  const token = fragment.get('token')
  if (!token) return null
  history.replaceState(null, '', location.pathname + location.search)
  return { token, key: fragment.get('key') ?? undefined }
}
