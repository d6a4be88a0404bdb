'use client'

import { useState } from 'react'

import type { RoomInfo } from '@rowcast/chat'

import { brief, count } from '../lib/format'
import { useMinute, useSigned, useSnapshot } from '../lib/hooks'
import { Avatar } from './Avatar'
import { Icon } from './Icon'
import { JoinRoom } from './JoinRoom'
import { NewRoom } from './NewRoom'
import styles from './RoomList.module.css'

interface Props {
  current: string | null
  go: (room: string) => void
  signOut: () => void
}

export function RoomList({ current, go, signOut }: Props) {
  const { chat, session } = useSigned()
  const { rooms, isLoaded, error } = useSnapshot(chat.rooms())
  const [dialog, setDialog] = useState<'new' | 'join' | null>(null)
  useMinute()

  return (
    <>
      <header className={styles.header}>
        <h2>Rooms</h2>
        <button type="button" className="icon" aria-label="Join a room" title="Join a room" onClick={() => setDialog('join')}>
          <Icon name="link" />
        </button>
        <button type="button" className="icon" aria-label="New room" title="New room" onClick={() => setDialog('new')}>
          <Icon name="plus" />
        </button>
      </header>
      <ul className={styles.rooms}>
        {rooms.map((room) => (
          <li key={room.id}>
            <Line room={room} isCurrent={room.id === current} />
          </li>
        ))}
      </ul>
      {isLoaded && rooms.length === 0 && <p className={styles.empty}>No room yet. Make one, or join one.</p>}
      {!isLoaded && !error && <p className={styles.empty}>Loading…</p>}
      {error && !isLoaded && (
        <p className={styles.empty} role="alert">
          {error.message}{' '}
          <button type="button" className="text" onClick={() => void chat.rooms().refresh()}>
            Try again
          </button>
        </p>
      )}
      <footer className={styles.footer}>
        <Avatar id={chat.me} name={session.name} isOnline={chat.connection === 'online'} />
        <span className={styles.me}>{session.name}</span>
        {session.isDev && (
          <button type="button" className="icon" aria-label="Sign out" title="Sign out" onClick={signOut}>
            <Icon name="door" />
          </button>
        )}
      </footer>
      {dialog === 'new' && <NewRoom close={() => setDialog(null)} go={go} />}
      {dialog === 'join' && <JoinRoom close={() => setDialog(null)} go={go} />}
    </>
  )
}

function Line({ room, isCurrent }: { room: RoomInfo; isCurrent: boolean }) {
  const { chat } = useSigned()
  const name = room.name ?? 'Room'
  const unread = room.unread_count
  const last = room.last_message
  const author = last && (last.sender_id === chat.me ? 'You' : chat.room(room.id).nameOf(last.sender_id))
  return (
    <a
      href={`#/room/${room.id}`}
      className={styles.line}
      aria-current={isCurrent ? 'page' : undefined}
      data-unread={unread > 0}
    >
      <Avatar id={room.id} name={name} size="large" />
      <span className={styles.name}>
        {name}
        {room.visibility === 'private' && <Icon name="lock" />}
      </span>
      <time className={styles.time} dateTime={room.last_message_at ?? undefined}>
        {room.last_message_at && brief(room.last_message_at)}
      </time>
      <span className={styles.last}>
        {last && author && `${author}: `}
        {last ? (last.content ?? 'Message deleted') : count(room.member_count, 'member')}
      </span>
      {unread > 0 && (
        <span className={styles.badge}>
          <span aria-hidden="true">{unread > 99 ? '99+' : unread}</span>
          <span className="unseen">{count(unread, 'unread message')}</span>
        </span>
      )}
    </a>
  )
}
