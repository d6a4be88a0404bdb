/** Times, names and sentences as people read them. */

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
const WEEKDAY = new Intl.DateTimeFormat(undefined, { weekday: 'long' })
const DATE = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long' })
const YEAR = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' })
const WHOLE = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' })
const DAY = 86_400_000

export const clock = (time: string) => CLOCK.format(new Date(time))
export const whole = (time: string) => WHOLE.format(new Date(time))
export const dayOf = (time: string) => new Date(time).toDateString()

/** Today, yesterday, a weekday, or a date. */
export function day(time: string): string {
  const date = new Date(time)
  const today = new Date()
  const days = Math.round((startOf(today) - startOf(date)) / DAY)
  if (days === 0) return 'Today'
  if (days === 1) return 'Yesterday'
  if (days > 1 && days < 7) return WEEKDAY.format(date)
  return (date.getFullYear() === today.getFullYear() ? DATE : YEAR).format(date)
}

/** As short as a line in a list has room for. */
export function brief(time: string): string {
  const when = day(time)
  return when === 'Today' ? clock(time) : when
}

function startOf(date: Date): number {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime()
}

export function lastSeen(time: string | null | undefined): string {
  if (!time) return 'offline'
  const minutes = Math.floor((Date.now() - Date.parse(time)) / 60_000)
  if (minutes < 1) return 'seen just now'
  if (minutes < 60) return `seen ${minutes} min ago`
  return `seen ${brief(time)}`
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`
}

/** Two letters for a picture that is not there. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/)
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]]
  return letters.map((word) => [...(word ?? '')][0] ?? '').join('').toUpperCase() || '·'
}

/** A colour's angle that belongs to an id. */
export function hue(id: string): number {
  let sum = 0
  for (const letter of id) sum = (sum * 31 + letter.charCodeAt(0)) % 360
  return sum
}

/** Somebody whose name nobody told. */
export const stranger = (id: string) => `Guest ${id.slice(0, 4)}`

export function typing(names: readonly string[]): string {
  if (names.length === 0) return ''
  if (names.length === 1) return `${names[0]} is typing…`
  if (names.length === 2) return `${names[0]} and ${names[1]} are typing…`
  return 'Several people are typing…'
}
