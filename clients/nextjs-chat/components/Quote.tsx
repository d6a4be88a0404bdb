import type { Message } from '@rowcast/chat'

import styles from './Message.module.css'

interface Props {
  /** Absent while it is not loaded. */
  message: Message | undefined
  nameOf: (user: string) => string
  go?: () => void
}

/** What a message answers. */
export function Quote({ message, nameOf, go }: Props) {
  const inside = (
    <>
      <strong>{message ? nameOf(message.sender_id) : 'Earlier message'}</strong>
      <span>{message ? (message.content ?? 'Message deleted') : 'Show it'}</span>
    </>
  )
  if (!go) return <blockquote className={styles.quote}>{inside}</blockquote>
  return (
    <button type="button" className={styles.quote} onClick={go}>
      <span className="unseen">In reply to </span>
      {inside}
    </button>
  )
}
