'use client'

import { useEffect, useId, useRef, type ReactNode } from 'react'

import { Icon } from './Icon'
import styles from './Dialog.module.css'

/** The browser's own dialog: it keeps the focus, closes by Escape, and gives the focus back. */
export function Dialog({ title, close, children }: { title: string; close: () => void; children: ReactNode }) {
  const ref = useRef<HTMLDialogElement>(null)
  const heading = useId()
  useEffect(() => {
    const dialog = ref.current
    dialog?.showModal()
    return () => dialog?.close()
  }, [])
  return (
    <dialog
      ref={ref}
      className={styles.dialog}
      aria-labelledby={heading}
      onCancel={close}
      onClick={(event) => event.target === ref.current && close()}
    >
      <div className={styles.inside}>
        <header>
          <h2 id={heading}>{title}</h2>
          <button type="button" className="icon" aria-label="Close" onClick={close}>
            <Icon name="close" />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  )
}
