'use client'

import type { Draft, Message, Room } from '@rowcast/chat'

import { clock } from '../lib/format'
import { Icon } from './Icon'
import { Quote } from './Quote'
import { Ticks } from './Ticks'
import styles from './Message.module.css'

interface Props {
  draft: Draft
  room: Room
  isHead: boolean
  replied: Message | undefined
  nameOf: (user: string) => string
}

/** A message on its way. It looks like the one that it becomes. */
export function DraftLine({ draft, room, isHead, replied, nameOf }: Props) {
  const hasFailed = draft.state === 'failed'
  return (
    <li id={`message-${draft.id}`} className={styles.line} data-mine data-head={isHead} data-draft={draft.state} tabIndex={0}>
      <div className={styles.column}>
        <span className="unseen">You</span>
        <div className={styles.bubble}>
          {draft.reply_to && <Quote message={replied} nameOf={nameOf} />}
          <p className={styles.text}>{draft.content}</p>
          <span className={styles.meta}>
            <time dateTime={draft.created_at}>{clock(draft.created_at)}</time>
            <Ticks state={draft.state} />
          </span>
        </div>
        {hasFailed && (
          <p className={styles.failed} role="alert">
            <span>Not sent. {draft.error?.message}</span>
            <button type="button" className="text" onClick={() => room.retry(draft.id)}>
              <Icon name="retry" /> Try again
            </button>
            <button type="button" className="text" onClick={() => room.discard(draft.id)}>
              Discard
            </button>
          </p>
        )}
      </div>
    </li>
  )
}
