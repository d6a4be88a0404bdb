'use client'

import { useState, type FormEvent } from 'react'

import type { Visibility } from '@rowcast/chat'

import { useSigned } from '../lib/hooks'
import { asMessage } from '../lib/errors'
import { Dialog } from './Dialog'

export function NewRoom({ close, go }: { close: () => void; go: (room: string) => void }) {
  const { chat } = useSigned()
  const [name, setName] = useState('')
  const [visibility, setVisibility] = useState<Visibility>('private')
  const [isBusy, setBusy] = useState(false)
  const [fault, setFault] = useState('')

  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    try {
      const room = await chat.createRoom(name.trim(), { visibility })
      close()
      go(room.id)
    } catch (error) {
      setFault(asMessage(error))
      setBusy(false)
    }
  }

  return (
    <Dialog title="New room" close={close}>
      <form onSubmit={submit}>
        <label>
          Name
          <input value={name} onChange={(event) => setName(event.target.value)} maxLength={200} required autoFocus />
        </label>
        <fieldset>
          <legend>Who may come in</legend>
          {(['private', 'public'] as const).map((value) => (
            <label key={value} className="choice">
              <input type="radio" name="visibility" checked={visibility === value} onChange={() => setVisibility(value)} />
              <span>
                {value === 'private' ? 'Private' : 'Public'}
                <small>{value === 'private' ? 'Only those who are invited' : 'Everybody with the link'}</small>
              </span>
            </label>
          ))}
        </fieldset>
        <p role="alert" className="fault">
          {fault}
        </p>
        <button className="primary" disabled={isBusy || !name.trim()}>
          Make the room
        </button>
      </form>
    </Dialog>
  )
}
