'use client'

import { useEffect, useState } from 'react'

import type { Connection } from '@rowcast/chat'

import styles from './Shell.module.css'

/** What is over sooner is not worth a word. */
const GRACE = 700

export function ConnectionBanner({ connection }: { connection: Connection }) {
  const [isShown, setShown] = useState(false)
  useEffect(() => {
    const timer = setTimeout(() => setShown(connection !== 'online'), connection === 'online' ? 0 : GRACE)
    return () => clearTimeout(timer)
  }, [connection])
  return (
    <div role="status" className={styles.banner} data-shown={isShown}>
      {isShown && (
        <p>
          <span className={styles.pulse} aria-hidden="true" />
          {connection === 'offline'
            ? 'You are offline. Messages are sent when the connection is back.'
            : 'Connecting…'}
        </p>
      )}
    </div>
  )
}
