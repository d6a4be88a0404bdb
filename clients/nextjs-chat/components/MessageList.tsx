'use client'

import { Fragment, useCallback, useEffect, useRef, useState, type KeyboardEvent } from 'react'

import type { Draft, Message, Room } from '@rowcast/chat'

import { day, dayOf } from '../lib/format'
import { useSigned, useSnapshot } from '../lib/hooks'
import { useReadMarks } from '../lib/useReadMarks'
import { useScroll } from '../lib/useScroll'
import { DraftLine } from './DraftLine'
import { Icon } from './Icon'
import { MessageLine, type Actions } from './MessageLine'
import styles from './MessageList.module.css'

interface Props {
  room: Room
  nameOf: (user: string) => string
  act: Actions
  editing: Message | null
  endEdit: () => void
}

/** Messages of one sender within so long stand together. */
const TOGETHER = 5 * 60_000

export function MessageList({ room, nameOf, act, editing, endEdit }: Props) {
  const { chat, complain } = useSigned()
  const { messages, drafts, hasOlder, isLoaded, info, members } = useSnapshot(room)
  // Where reading goes on when the room is opened. It stays while one is here, and it is known
  // before anything is shown: the view starts there.
  const [firstUnread, setFirstUnread] = useState<number | null | undefined>(undefined)
  if (isLoaded && info && firstUnread === undefined) {
    const read = info.last_read_seq
    const first = messages.find((one) => read !== null && one.seq > read && one.sender_id !== chat.me)
    setFirstUnread(first?.seq ?? null)
  }
  const scroller = useRef<HTMLDivElement>(null)
  const { isAtEnd, toEnd, above } = useScroll(scroller, messages, drafts, isLoaded)
  const mark = useReadMarks(scroller, (seq) => room.markRead(seq))

  const [isLoadingOlder, setLoadingOlder] = useState(false)
  const loadOlder = useCallback(() => {
    setLoadingOlder(true)
    room
      .loadOlder()
      .catch(complain)
      .finally(() => setLoadingOlder(false))
  }, [room, complain])

  useEffect(() => {
    const end = above.current
    if (!end || !hasOlder || isLoadingOlder) return
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && loadOlder(), {
      root: scroller.current,
      rootMargin: '600px 0px 0px',
    })
    observer.observe(end)
    return () => observer.disconnect()
  }, [hasOlder, isLoadingOlder, loadOlder, above])

  const jump = useCallback(
    async (id: string) => {
      const find = () => document.getElementById(`message-${id}`)
      for (let pages = 0; !find() && room.snapshot.hasOlder && pages < 20; pages += 1) {
        await room.loadOlder().catch(complain)
        await new Promise(requestAnimationFrame)
      }
      find()?.scrollIntoView({ block: 'center' })
      find()?.focus({ preventScroll: true })
    },
    [room, complain],
  )

  const byId = (id: string | null) => (id === null ? undefined : messages.find((message) => message.id === id))

  return (
    <div className={styles.frame}>
      <div ref={scroller} className={styles.scroller} tabIndex={-1}>
        <div ref={above} className={styles.above}>
          {hasOlder && isLoaded ? 'Loading earlier messages…' : isLoaded && 'This is where it begins.'}
        </div>
        {!isLoaded && (
          <p className={styles.loading} role="status">
            Loading messages…
          </p>
        )}
        <ol className={styles.messages} aria-label="Messages" aria-busy={!isLoaded} onKeyDown={walk}>
          {messages.map((message, at) => {
            const before = messages[at - 1]
            const isNewDay = !before || dayOf(before.created_at) !== dayOf(message.created_at)
            const isFirstUnread = message.seq === firstUnread
            return (
              <Fragment key={message.id}>
                {isNewDay && (
                  <li className={styles.day}>
                    <span>{day(message.created_at)}</span>
                  </li>
                )}
                {isFirstUnread && (
                  <li className={styles.unread} data-unread>
                    <span>New</span>
                  </li>
                )}
                <MessageLine
                  message={message}
                  isMine={message.sender_id === chat.me}
                  isHead={isNewDay || isFirstUnread || !before || !areTogether(before, message)}
                  sender={nameOf(message.sender_id)}
                  nameOf={nameOf}
                  replied={byId(message.reply_to)}
                  tick={message.sender_id === chat.me ? room.tick(message) : null}
                  members={members.size}
                  canWrite={info?.role != null}
                  isEditing={editing?.id === message.id}
                  room={room}
                  act={act}
                  endEdit={endEdit}
                  jump={jump}
                  mark={mark}
                />
              </Fragment>
            )
          })}
          {drafts.map((draft: Draft, at) => (
            <DraftLine
              key={draft.id}
              draft={draft}
              room={room}
              isHead={at === 0 && messages.at(-1)?.sender_id !== chat.me}
              replied={byId(draft.reply_to)}
              nameOf={nameOf}
            />
          ))}
        </ol>
      </div>
      {!isAtEnd && (
        <button type="button" className={styles.down} onClick={toEnd} aria-label="To the newest message">
          <Icon name="down" />
          {info && info.unread_count > 0 && <span className={styles.count}>{info.unread_count}</span>}
        </button>
      )}
    </div>
  )
}

function areTogether(before: Message, message: Message): boolean {
  const apart = Date.parse(message.created_at) - Date.parse(before.created_at)
  return before.sender_id === message.sender_id && apart < TOGETHER
}

/** Up and down go from message to message. */
function walk(event: KeyboardEvent<HTMLOListElement>): void {
  const line = event.target
  if (!(line instanceof HTMLElement) || !line.matches('li[id]')) return
  const lines = [...event.currentTarget.querySelectorAll<HTMLElement>('li[id]')]
  const at = lines.indexOf(line)
  const next = { ArrowUp: lines[at - 1], ArrowDown: lines[at + 1], Home: lines[0], End: lines.at(-1) }[event.key]
  if (!next) return
  event.preventDefault()
  next.focus()
}
