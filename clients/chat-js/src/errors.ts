/** Kinds of refusals. `network` is the SDK's own: no answer came. */
export type ErrorCode =
  | 'bad_request'
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'deleted'
  | 'too_large'
  | 'rate_limited'
  | 'unavailable'
  | 'network'

/** Why something was not done: a code for programs and a sentence for people. */
export class ChatError extends Error {
  override readonly name = 'ChatError'

  constructor(
    readonly code: ErrorCode,
    message: string,
    /** With `conflict`: the version that the message has by now. */
    readonly currentVersion?: number,
  ) {
    super(message)
  }

  /** Whether the same request may succeed later. */
  get isTransient(): boolean {
    return this.code === 'network' || this.code === 'unavailable' || this.code === 'rate_limited'
  }
}

const BY_STATUS: Record<number, ErrorCode> = {
  400: 'bad_request',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  409: 'conflict',
  410: 'deleted',
  413: 'too_large',
  422: 'bad_request',
  429: 'rate_limited',
}
const CODES = new Set<string>([...Object.values(BY_STATUS), 'unavailable'])

/** The code that the server names, or the one that fits an HTTP status. */
export function errorCode(code: unknown, status = 503): ErrorCode {
  if (typeof code === 'string' && CODES.has(code)) return code as ErrorCode
  return BY_STATUS[status] ?? 'unavailable'
}

/** Anything thrown as a `ChatError`. */
export function asChatError(error: unknown): ChatError {
  if (error instanceof ChatError) return error
  return new ChatError('network', 'The server cannot be reached.')
}
