'use client'

import { useEffect, useState } from 'react'

import type { Connection } from '@rowcast/chat'

import { useRoute, useSigned, useSnapshot } from '../lib/hooks'
import { ConnectionBanner } from './ConnectionBanner'
import { RoomList } from './RoomList'
import { RoomView } from './RoomView'
import styles from './Shell.module.css'

export function Shell({ signOut }: { signOut: () => void }) {
  const { chat } = useSigned()
  const rooms = chat.rooms()
  const { rooms: list } = useSnapshot(rooms)
  const [route, go] = useRoute()
  const [connection, setConnection] = useState<Connection>(chat.connection)

  useEffect(() => {
    setConnection(chat.connection)
    return chat.on('connection', setConnection)
  }, [chat])

  const unread = list.reduce((sum, room) => sum + (room.id === route ? 0 : room.unread_count), 0)
  useEffect(() => {
    const name = list.find((room) => room.id === route)?.name
    document.title = `${unread > 0 ? `(${unread}) ` : ''}${name ?? 'Chat'}`
  }, [list, route, unread])

  return (
    <div className={styles.shell} data-room={route !== null}>
      <ConnectionBanner connection={connection} />
      <nav className={styles.list} aria-label="Rooms">
        <RoomList current={route} go={go} signOut={signOut} />
      </nav>
      {route ? (
        <RoomView key={route} id={route} back={() => go(null)} />
      ) : (
        <main className={styles.nothing}>
          <h1>Pick a room</h1>
          <p>Your rooms are on the left. Make a new one, or join one by its link.</p>
        </main>
      )}
    </div>
  )
}
