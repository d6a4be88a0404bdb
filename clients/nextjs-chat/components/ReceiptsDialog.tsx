'use client'

import { useEffect, useState } from 'react'

import type { Message, Receipts, Room } from '@rowcast/chat'

import { brief, clock, day, stranger, whole } from '../lib/format'
import { asMessage } from '../lib/errors'
import { useSnapshot } from '../lib/hooks'
import { Avatar } from './Avatar'
import { Dialog } from './Dialog'
import styles from './MembersPanel.module.css'

export function ReceiptsDialog({ room, message, close }: { room: Room; message: Message; close: () => void }) {
  const [receipts, setReceipts] = useState<Receipts | null>(null)
  const [fault, setFault] = useState('')
  // Read again whenever somebody reads on.
  const { members } = useSnapshot(room)

  useEffect(() => {
    let isCurrent = true
    room.receipts(message.id).then(
      (answer) => isCurrent && setReceipts(answer),
      (error: unknown) => isCurrent && setFault(asMessage(error)),
    )
    return () => {
      isCurrent = false
    }
  }, [room, message.id, members])

  return (
    <Dialog title="Seen by" close={close}>
      {fault && <p role="alert">{fault}</p>}
      {receipts && (
        <>
          <p className={styles.sum}>
            Read by {receipts.read} of {receipts.members}, delivered to {receipts.delivered}.
          </p>
          <ul>
            {receipts.receipts.map(({ user_id, name, delivered_at, read_at }) => (
              <li key={user_id} className={styles.member}>
                <Avatar id={user_id} name={name || stranger(user_id)} />
                <span className={styles.name}>{name || stranger(user_id)}</span>
                <time className={styles.about} dateTime={read_at ?? delivered_at} title={whole(read_at ?? delivered_at)}>
                  {read_at ? 'read' : 'delivered'} {when(read_at ?? delivered_at)}
                </time>
              </li>
            ))}
          </ul>
        </>
      )}
    </Dialog>
  )
}

function when(time: string): string {
  return day(time) === 'Today' ? clock(time) : `${brief(time)}, ${clock(time)}`
}
