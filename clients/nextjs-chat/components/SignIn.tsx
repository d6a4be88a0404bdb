'use client'

import { useState, type FormEvent } from 'react'

import { asMessage } from '../lib/errors'
import styles from './SignIn.module.css'

export function SignIn({ enter }: { enter: (name: string) => Promise<void> }) {
  const [name, setName] = useState('')
  const [isBusy, setBusy] = useState(false)
  const [fault, setFault] = useState('')

  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    setFault('')
    try {
      await enter(name.trim())
    } catch (error) {
      setFault(asMessage(error))
      setBusy(false)
    }
  }

  return (
    <main className={styles.page}>
      <form className={styles.card} onSubmit={submit}>
        <svg className={styles.mark} viewBox="0 0 48 48" aria-hidden="true">
          <path d="M8 12a6 6 0 0 1 6-6h20a6 6 0 0 1 6 6v14a6 6 0 0 1-6 6H21l-9 8v-8.4A6 6 0 0 1 8 26z" />
          <path d="M16 16h16M16 23h10" />
        </svg>
        <h1>Come in</h1>
        <p className={styles.hint}>A name is enough here. The same name is the same person.</p>
        <label htmlFor="name">Your name</label>
        <input
          id="name"
          value={name}
          onChange={(event) => setName(event.target.value)}
          autoComplete="nickname"
          autoCapitalize="words"
          maxLength={60}
          required
          autoFocus
          aria-describedby={fault ? 'fault' : undefined}
        />
        <p id="fault" role="alert" className={styles.fault}>
          {fault}
        </p>
        <button className="primary" disabled={isBusy || !name.trim()}>
          {isBusy ? 'One moment…' : 'Start chatting'}
        </button>
      </form>
    </main>
  )
}
