'use client'

import { useEffect, useImperativeHandle, useRef, useState, type FormEvent, type KeyboardEvent, type Ref } from 'react'

import type { Message, Room } from '@rowcast/chat'

import { fitHeight } from '../lib/fitHeight'
import { Icon } from './Icon'
import { Quote } from './Quote'
import styles from './Composer.module.css'

export interface ComposerHandle {
  focus(): void
}

interface Props {
  ref: Ref<ComposerHandle>
  room: Room
  replyTo: Message | null
  endReply: () => void
  editLast: () => void
  nameOf: (user: string) => string
}

/** What a message has room for, and from where on it is said how much is left. */
const LONGEST = 10_000
const TELL = 9_500

export function Composer({ ref, room, replyTo, endReply, editLast, nameOf }: Props) {
  const [text, setText] = useState('')
  const input = useRef<HTMLTextAreaElement>(null)
  const isEmpty = text.trim() === ''

  useImperativeHandle(ref, () => ({ focus: () => input.current?.focus() }), [])
  useEffect(() => {
    // A phone would open its keyboard.
    if (matchMedia('(hover: hover)').matches) input.current?.focus()
  }, [])
  useEffect(() => {
    if (input.current) fitHeight(input.current)
  }, [text])

  const submit = (event?: FormEvent) => {
    event?.preventDefault()
    if (isEmpty) return
    room.send(text.trim(), { replyTo: replyTo?.id })
    setText('')
    endReply()
    input.current?.focus()
  }

  const keys = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing) return
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault()
      submit()
    } else if (event.key === 'ArrowUp' && text === '') {
      event.preventDefault()
      editLast()
    } else if (event.key === 'Escape') endReply()
  }

  return (
    <form className={styles.composer} onSubmit={submit}>
      {replyTo && (
        <div className={styles.reply}>
          <Quote message={replyTo} nameOf={nameOf} />
          <button type="button" className="icon" aria-label="Do not reply" onClick={endReply}>
            <Icon name="close" />
          </button>
        </div>
      )}
      <div className={styles.row}>
        <textarea
          ref={input}
          value={text}
          rows={1}
          maxLength={LONGEST}
          placeholder="Write a message"
          aria-label="Message"
          enterKeyHint="send"
          onChange={(event) => {
            setText(event.target.value)
            if (event.target.value) room.typing()
            else room.stopTyping()
          }}
          onBlur={() => room.stopTyping()}
          onKeyDown={keys}
        />
        <button className={styles.send} aria-label="Send" disabled={isEmpty}>
          <Icon name="send" />
        </button>
      </div>
      {text.length > TELL && (
        <p className={styles.left} role="status">
          {LONGEST - text.length} characters left
        </p>
      )}
    </form>
  )
}
