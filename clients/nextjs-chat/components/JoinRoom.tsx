'use client'

import { useState, type FormEvent } from 'react'

import { asMessage } from '../lib/errors'
import { idIn, useSigned } from '../lib/hooks'
import { Dialog } from './Dialog'

export function JoinRoom({ close, go }: { close: () => void; go: (room: string) => void }) {
  const { chat } = useSigned()
  const [link, setLink] = useState('')
  const [isBusy, setBusy] = useState(false)
  const [fault, setFault] = useState('')

  const submit = async (event: FormEvent) => {
    event.preventDefault()
    const id = idIn(link)
    if (!id) return setFault('That is neither the link nor the id of a room.')
    setBusy(true)
    try {
      await chat.joinRoom(id)
      close()
      go(id)
    } catch (error) {
      setFault(asMessage(error))
      setBusy(false)
    }
  }

  return (
    <Dialog title="Join a room" close={close}>
      <form onSubmit={submit}>
        <label>
          Link or id of a public room
          <input value={link} onChange={(event) => setLink(event.target.value)} required autoFocus spellCheck={false} />
        </label>
        <p role="alert" className="fault">
          {fault}
        </p>
        <button className="primary" disabled={isBusy || !link.trim()}>
          Join
        </button>
      </form>
    </Dialog>
  )
}
