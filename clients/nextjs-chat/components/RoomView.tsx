'use client'

import { useCallback, useEffect, useMemo, useRef, useState } from 'react'

import type { Message } from '@rowcast/chat'

import { count, stranger, typing as typingText } from '../lib/format'
import { useSigned, useSnapshot } from '../lib/hooks'
import { Composer, type ComposerHandle } from './Composer'
import { Icon } from './Icon'
import { MembersPanel } from './MembersPanel'
import { MessageList } from './MessageList'
import { ReceiptsDialog } from './ReceiptsDialog'
import styles from './RoomView.module.css'

export function RoomView({ id, back }: { id: string; back: () => void }) {
  const { chat, session, announce, complain } = useSigned()
  const room = chat.room(id)
  const snapshot = useSnapshot(room)
  const { info, members, typing, isRemoved, isLoaded } = snapshot
  const [replyTo, setReplyTo] = useState<Message | null>(null)
  const [editing, setEditing] = useState<Message | null>(null)
  const [seenBy, setSeenBy] = useState<Message | null>(null)
  const [hasPanel, setPanel] = useState(false)
  const composer = useRef<ComposerHandle>(null)

  const nameOf = useCallback(
    (user: string) => (user === chat.me ? session.name : room.nameOf(user)) ?? stranger(user),
    [chat, room, session],
  )

  useEffect(() => {
    // Again for who is invited again.
    if (!isRemoved) room.open()
  }, [room, isRemoved])

  useEffect(
    () =>
      room.on('message', (message) => {
        if (message.sender_id !== chat.me) announce(`${nameOf(message.sender_id)}: ${message.content ?? ''}`)
      }),
    [room, chat, nameOf, announce],
  )

  const act = useMemo(
    () => ({
      reply: (message: Message) => {
        setEditing(null)
        setReplyTo(message)
        composer.current?.focus()
      },
      edit: (message: Message) => {
        setReplyTo(null)
        setEditing(message)
      },
      remove: (message: Message) => void room.delete(message.id).catch(complain),
      react: (message: Message, emoji: string, added: boolean) =>
        void room.react(message.id, emoji, added).catch(complain),
      seenBy: setSeenBy,
    }),
    [room, complain],
  )

  const editLast = () => {
    const last = snapshot.messages.findLast((message) => message.sender_id === chat.me && !message.deleted_at)
    if (last) act.edit(last)
  }
  const endEdit = useCallback(() => {
    setEditing(null)
    composer.current?.focus()
  }, [])

  if (isRemoved) {
    return (
      <main className={styles.gone}>
        <h1>This room is closed to you</h1>
        <p>You are not a member, or the room is no longer there.</p>
        <button type="button" className="primary" onClick={back}>
          Back to the rooms
        </button>
      </main>
    )
  }

  const name = info?.name ?? ''
  const online = [...members.keys()].filter((user) => room.isOnline(user)).length
  const typers = typingText(typing.map(nameOf))

  return (
    <main className={styles.room} aria-label={name}>
      <header className={styles.header}>
        <button type="button" className={`icon ${styles.back}`} aria-label="Back to the rooms" onClick={back}>
          <Icon name="back" />
        </button>
        <div className={styles.title}>
          <h1>{name}</h1>
          <p aria-live="polite" data-typing={typers !== ''}>
            {typers || (info && `${count(info.member_count, 'member')}${online > 0 ? `, ${online} online` : ''}`)}
          </p>
        </div>
        <button
          type="button"
          className="icon"
          aria-label="Members"
          title="Members"
          aria-expanded={hasPanel}
          onClick={() => setPanel(!hasPanel)}
        >
          <Icon name="people" />
        </button>
      </header>
      <MessageList room={room} nameOf={nameOf} act={act} editing={editing} endEdit={endEdit} />
      {isLoaded && info?.role && (
        <Composer ref={composer} room={room} replyTo={replyTo} endReply={() => setReplyTo(null)} editLast={editLast} nameOf={nameOf} />
      )}
      {isLoaded && info && !info.role && (
        <div className={styles.join}>
          <p>You are reading as a guest.</p>
          <button type="button" className="primary" onClick={() => void chat.joinRoom(id).catch(complain)}>
            Join the room
          </button>
        </div>
      )}
      {hasPanel && <MembersPanel room={room} close={() => setPanel(false)} left={back} />}
      {seenBy && <ReceiptsDialog room={room} message={seenBy} close={() => setSeenBy(null)} />}
    </main>
  )
}
