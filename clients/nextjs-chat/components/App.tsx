'use client'

import { useCallback, useEffect, useMemo, useRef, useState } from 'react'

import { asMessage } from '../lib/errors'
import { SignedContext } from '../lib/hooks'
import { rememberedName, sessionOfHost, signIn, signOut, type Session } from '../lib/session'
import { createChat, type Chat } from '@rowcast/chat'
import { Shell } from './Shell'
import { SignIn } from './SignIn'
import { Toast } from './Toast'

type Stage = { is: 'starting' } | { is: 'out' } | { is: 'in'; chat: Chat; session: Session }

/** `rowcast dev` makes this room; who comes for the first time should not meet an empty list. */
const GENERAL = '00000000-0000-4000-8000-000000000001'

export function App() {
  const [stage, setStage] = useState<Stage>({ is: 'starting' })
  const [said, announce] = useState('')
  useEffect(() => {
    // It has been read out by then, and what is deleted should not stay here.
    const timer = setTimeout(() => announce(''), 5_000)
    return () => clearTimeout(timer)
  }, [said])
  const [fault, setFault] = useState('')
  const chat = useRef<Chat | null>(null)

  const enter = useCallback(async (session: Session) => {
    const made = await createChat({ url: session.url, key: session.key, token: session.token })
    if (session.isDev) await made.joinRoom(GENERAL).catch(() => undefined)
    chat.current?.close()
    chat.current = made
    setStage({ is: 'in', chat: made, session })
  }, [])

  useEffect(() => {
    let isHanded = false
    const stop = sessionOfHost((session) => {
      isHanded = true
      void enter(session).catch((error: unknown) => setFault(asMessage(error)))
    })
    const name = rememberedName()
    if (isHanded) return stop
    if (!name) setStage({ is: 'out' })
    else void signIn(name).then(enter).catch(() => setStage({ is: 'out' }))
    return stop
  }, [enter])

  const leave = useCallback(() => {
    signOut()
    chat.current?.close()
    chat.current = null
    setStage({ is: 'out' })
  }, [])

  const complain = useCallback((error: unknown) => setFault(asMessage(error)), [])
  const signed = useMemo(
    () => (stage.is === 'in' ? { chat: stage.chat, session: stage.session, announce, complain } : null),
    [stage, complain],
  )

  return (
    <>
      {stage.is === 'out' && <SignIn enter={async (name) => enter(await signIn(name))} />}
      {signed && (
        <SignedContext value={signed}>
          <Shell key={signed.chat.me} signOut={leave} />
        </SignedContext>
      )}
      <div className="unseen" role="status" aria-live="polite">
        {said}
      </div>
      <Toast text={fault} done={() => setFault('')} />
    </>
  )
}
