'use client'

import { memo, useEffect, useRef, useState } from 'react'

import type { Message, Room, Tick } from '@rowcast/chat'

import { clock, whole } from '../lib/format'
import { Avatar } from './Avatar'
import { EditBox } from './EditBox'
import { Icon } from './Icon'
import { Quote } from './Quote'
import { Ticks } from './Ticks'
import styles from './Message.module.css'

export interface Actions {
  reply(message: Message): void
  edit(message: Message): void
  remove(message: Message): void
  react(message: Message, emoji: string, added: boolean): void
  seenBy(message: Message): void
}

const EMOJI = [
  ['👍', 'thumbs up'],
  ['❤️', 'heart'],
  ['😂', 'laughing'],
  ['🎉', 'party'],
  ['😮', 'surprised'],
  ['🙏', 'thanks'],
] as const

interface Props {
  message: Message
  isMine: boolean
  isHead: boolean
  sender: string
  nameOf: (user: string) => string
  replied: Message | undefined
  tick: Tick | null
  members: number
  canWrite: boolean
  isEditing: boolean
  room: Room
  act: Actions
  endEdit: () => void
  jump: (id: string) => void
  mark: (end: HTMLElement | null) => (() => void) | undefined
}

export const MessageLine = memo(Line, (before, after) => {
  const { tick: oldTick, ...old } = before
  const { tick, ...now } = after
  const isSameTick = oldTick?.state === tick?.state && oldTick?.read === tick?.read
  return isSameTick && (Object.keys(now) as (keyof typeof now)[]).every((key) => Object.is(old[key], now[key]))
})

function Line(props: Props) {
  const { message, isMine, isHead, sender, nameOf, replied, tick, canWrite, isEditing, room, act, endEdit, jump, mark } = props
  const isDeleted = message.deleted_at !== null
  return (
    <li
      id={`message-${message.id}`}
      className={styles.line}
      data-mine={isMine}
      data-head={isHead}
      data-seq={message.seq}
      tabIndex={0}
    >
      {!isMine && <span className={styles.face}>{isHead && <Avatar id={message.sender_id} name={sender} />}</span>}
      <div className={styles.column}>
        <span className={isHead && !isMine ? styles.sender : 'unseen'}>{isMine ? 'You' : sender}</span>
        <div className={styles.bubble} data-deleted={isDeleted}>
          {message.reply_to && !isDeleted && <Quote message={replied} nameOf={nameOf} go={() => jump(message.reply_to!)} />}
          {isEditing ? (
            <EditBox message={message} room={room} done={endEdit} />
          ) : (
            <p className={styles.text}>{isDeleted ? 'Message deleted' : message.content}</p>
          )}
          <span className={styles.meta}>
            {message.edited_at && !isDeleted && <span>edited</span>}
            <time dateTime={message.created_at} title={whole(message.created_at)}>
              {clock(message.created_at)}
            </time>
            {tick && !isDeleted && <Ticks state={tick.state} />}
          </span>
          {canWrite && !isDeleted && !isEditing && <Toolbar message={message} isMine={isMine} act={act} />}
        </div>
        {!isDeleted && <Reactions message={message} nameOf={nameOf} canWrite={canWrite} act={act} />}
      </div>
      <span ref={mark} data-seq={message.seq} className={styles.end} />
    </li>
  )
}

function Reactions({ message, nameOf, canWrite, act }: Pick<Props, 'message' | 'nameOf' | 'canWrite' | 'act'>) {
  const reactions = message.reactions ?? []
  if (reactions.length === 0) return null
  return (
    <ul className={styles.reactions} aria-label="Reactions">
      {reactions.map(({ emoji, count, users, mine }) => (
        <li key={emoji}>
          <button
            type="button"
            aria-pressed={mine}
            aria-label={`${emoji} ${count}`}
            title={users.map(nameOf).join(', ')}
            disabled={!canWrite}
            onClick={() => act.react(message, emoji, !mine)}
          >
            <span aria-hidden="true">{emoji}</span> {count}
          </button>
        </li>
      ))}
    </ul>
  )
}

function Toolbar({ message, isMine, act }: Pick<Props, 'message' | 'isMine' | 'act'>) {
  const [isPicking, setPicking] = useState(false)
  const ref = useRef<HTMLDivElement>(null)
  const hasReacted = (emoji: string) => message.reactions?.some((one) => one.emoji === emoji && one.mine) ?? false

  useEffect(() => {
    if (!isPicking) return
    const elsewhere = (event: PointerEvent) => {
      if (!ref.current?.contains(event.target as Node)) setPicking(false)
    }
    document.addEventListener('pointerdown', elsewhere)
    return () => document.removeEventListener('pointerdown', elsewhere)
  }, [isPicking])

  return (
    <div
      ref={ref}
      className={styles.toolbar}
      role="group"
      aria-label="What to do with this message"
      data-open={isPicking}
      onKeyDown={(event) => event.key === 'Escape' && setPicking(false)}
    >
      {isPicking ? (
        EMOJI.map(([emoji, name], at) => (
          <button
            key={emoji}
            type="button"
            className={`icon ${styles.emoji}`}
            aria-label={`React with ${name}`}
            autoFocus={at === 0}
            onClick={() => {
              setPicking(false)
              act.react(message, emoji, !hasReacted(emoji))
            }}
          >
            {emoji}
          </button>
        ))
      ) : (
        <>
          <button type="button" className="icon" aria-label="React" title="React" onClick={() => setPicking(true)}>
            <Icon name="smile" />
          </button>
          <button type="button" className="icon" aria-label="Reply" title="Reply" onClick={() => act.reply(message)}>
            <Icon name="reply" />
          </button>
          {isMine && (
            <>
              <button type="button" className="icon" aria-label="Edit" title="Edit" onClick={() => act.edit(message)}>
                <Icon name="edit" />
              </button>
              <button type="button" className="icon" aria-label="Delete" title="Delete" onClick={() => act.remove(message)}>
                <Icon name="trash" />
              </button>
              <button type="button" className="icon" aria-label="Seen by" title="Seen by" onClick={() => act.seenBy(message)}>
                <Icon name="info" />
              </button>
            </>
          )}
        </>
      )}
    </div>
  )
}
