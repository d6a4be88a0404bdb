'use client'

import { useEffect, useRef, useState, type KeyboardEvent } from 'react'

import type { Message, Room } from '@rowcast/chat'

import { asMessage } from '../lib/errors'
import { fitHeight } from '../lib/fitHeight'
import styles from './Message.module.css'

export function EditBox({ message, room, done }: { message: Message; room: Room; done: () => void }) {
  const [text, setText] = useState(message.content ?? '')
  const [isBusy, setBusy] = useState(false)
  const [fault, setFault] = useState('')
  const ref = useRef<HTMLTextAreaElement>(null)

  useEffect(() => {
    const input = ref.current
    if (!input) return
    input.focus()
    input.setSelectionRange(input.value.length, input.value.length)
    fitHeight(input)
  }, [])

  const save = async () => {
    const content = text.trim()
    if (!content || content === message.content) return done()
    setBusy(true)
    try {
      await room.edit(message.id, content)
      done()
    } catch (error) {
      setFault(asMessage(error))
      setBusy(false)
    }
  }

  const keys = (event: KeyboardEvent) => {
    // The list's own keys are for messages.
    event.stopPropagation()
    if (event.key === 'Escape') done()
    if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault()
      void save()
    }
  }

  return (
    <div className={styles.edit}>
      <textarea
        ref={ref}
        value={text}
        rows={1}
        maxLength={10_000}
        aria-label="Edit the message"
        disabled={isBusy}
        onChange={(event) => {
          setText(event.target.value)
          fitHeight(event.target)
        }}
        onKeyDown={keys}
      />
      <p role="alert" className="fault">
        {fault}
      </p>
      <div>
        <button type="button" className="text" onClick={done}>
          Cancel
        </button>
        <button type="button" className="text" onClick={() => void save()} disabled={isBusy}>
          Save
        </button>
      </div>
    </div>
  )
}
