/** What the SDK looks at in a token. The server is who checks it. */
export interface Claims {
  sub?: string
  /** Seconds since 1970. */
  exp?: number
  name?: string
  user_metadata?: { name?: string }
}

/** The claims of a JSON Web Token; none if it cannot be read. */
export function claimsOf(token: string): Claims {
  try {
    const part = token.split('.')[1] ?? ''
    const base64 = part.replaceAll('-', '+').replaceAll('_', '/')
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))
    return JSON.parse(new TextDecoder().decode(bytes)) as Claims
  } catch {
    return {}
  }
}

/** A random id. `crypto.randomUUID` exists on secure origins only. */
export function newId(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID()
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
