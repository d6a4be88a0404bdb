'use client'

import { useState, type FormEvent } from 'react'

import type { Member, Room } from '@rowcast/chat'

import { lastSeen, stranger } from '../lib/format'
import { idIn, useMinute, useSigned, useSnapshot } from '../lib/hooks'
import { devToken } from '../lib/session'
import { Avatar } from './Avatar'
import { Icon } from './Icon'
import styles from './MembersPanel.module.css'

export function MembersPanel({ room, close, left }: { room: Room; close: () => void; left: () => void }) {
  const { chat, complain } = useSigned()
  const { members, info } = useSnapshot(room)
  useMinute()
  const mayManage = info?.role === 'owner' || info?.role === 'admin'
  const sorted = [...members.values()].sort(
    (a, b) => Number(room.isOnline(b.user_id)) - Number(room.isOnline(a.user_id)) || a.name.localeCompare(b.name),
  )

  const copy = () => navigator.clipboard.writeText(location.href).catch(complain)
  const leave = async () => {
    try {
      await room.leave()
      left()
    } catch (error) {
      complain(error)
    }
  }

  return (
    <aside className={styles.panel} aria-label="Members" onKeyDown={(event) => event.key === 'Escape' && close()}>
      <header>
        <h2>Members</h2>
        <button type="button" className="icon" aria-label="Close" onClick={close} autoFocus>
          <Icon name="close" />
        </button>
      </header>
      <ul>
        {sorted.map((member) => (
          <Line key={member.user_id} member={member} room={room} mayRemove={mayManage && member.user_id !== chat.me} />
        ))}
      </ul>
      {mayManage && <Invite room={room} />}
      <footer>
        {info?.visibility === 'public' && (
          <button type="button" className="quiet" onClick={() => void copy()}>
            <Icon name="link" /> Copy the link
          </button>
        )}
        {info?.role && (
          <button type="button" className="quiet" onClick={() => void leave()}>
            <Icon name="door" /> Leave the room
          </button>
        )}
      </footer>
    </aside>
  )
}

function Line({ member, room, mayRemove }: { member: Member; room: Room; mayRemove: boolean }) {
  const { chat, complain } = useSigned()
  const { user_id, role } = member
  const name = member.name || stranger(user_id)
  const isOnline = room.isOnline(user_id)
  return (
    <li className={styles.member}>
      <Avatar id={user_id} name={name} isOnline={isOnline} />
      <span className={styles.name}>
        {name}
        {user_id === chat.me && <small> you</small>}
      </span>
      <span className={styles.about}>
        {isOnline ? 'online' : lastSeen(chat.statuses.of(user_id)?.last_seen)}
        {role !== 'member' && `, ${role}`}
      </span>
      {mayRemove && (
        <button
          type="button"
          className="icon"
          aria-label={`Remove ${name}`}
          title="Remove"
          onClick={() => void room.removeMember(user_id).catch(complain)}
        >
          <Icon name="close" />
        </button>
      )}
    </li>
  )
}

function Invite({ room }: { room: Room }) {
  const { session, complain } = useSigned()
  const [text, setText] = useState('')

  const submit = async (event: FormEvent) => {
    event.preventDefault()
    try {
      const id = idIn(text)
      // Where a name signs in, a name is a person.
      const who = id || !session.isDev ? { user_id: id ?? text, name: undefined } : await devToken(text.trim())
      await room.invite(who.user_id, { name: who.name })
      setText('')
    } catch (error) {
      complain(error)
    }
  }

  return (
    <form className={styles.invite} onSubmit={submit}>
      <label>
        {session.isDev ? 'Invite by name' : 'Invite by user id'}
        <input value={text} onChange={(event) => setText(event.target.value)} required maxLength={100} />
      </label>
      <button className="icon" aria-label="Invite" disabled={!text.trim()}>
        <Icon name="plus" />
      </button>
    </form>
  )
}
