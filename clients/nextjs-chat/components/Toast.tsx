'use client'

import { useEffect } from 'react'

import { Icon } from './Icon'
import styles from './Toast.module.css'

/** Long enough to be read twice. */
const SHOWN = 7_000

export function Toast({ text, done }: { text: string; done: () => void }) {
  useEffect(() => {
    if (!text) return
    const timer = setTimeout(done, SHOWN)
    return () => clearTimeout(timer)
  }, [text, done])
  return (
    <div role="alert" className={styles.place}>
      {text && (
        <div className={styles.toast}>
          <span>{text}</span>
          <button type="button" className="icon" aria-label="Dismiss" onClick={done}>
            <Icon name="close" />
          </button>
        </div>
      )}
    </div>
  )
}
