/** Something thrown, as a sentence for people. */
export function asMessage(error: unknown): string {
  return error instanceof Error && error.message ? error.message : 'That did not work.'
}
