import { useCallback, useEffect, useLayoutEffect, useRef, useState, type RefObject } from 'react'

import type { Draft, Message } from '@rowcast/chat'

/** So near to the end one follows what comes. */
const NEAR = 80

/**
 * Keeps the view where it belongs: at the end while one is there, at the same message when
 * earlier ones come above, and at the first unread one when a room is opened.
 */
export function useScroll(
  scroller: RefObject<HTMLDivElement | null>,
  messages: readonly Message[],
  drafts: readonly Draft[],
  isLoaded: boolean,
) {
  const above = useRef<HTMLDivElement>(null)
  const [isAtEnd, setAtEnd] = useState(true)
  const follows = useRef(true)
  const before = useRef({ first: '', height: 0, isPlaced: false, drafts: 0 })

  const toEnd = useCallback(() => {
    const view = scroller.current
    if (view) view.scrollTop = view.scrollHeight
  }, [scroller])

  useLayoutEffect(() => {
    const view = scroller.current
    if (!view || !isLoaded) return
    const { first, height, isPlaced, drafts: earlier } = before.current
    const nowFirst = messages[0]?.id ?? ''
    if (!isPlaced) {
      const unread = view.querySelector<HTMLElement>('[data-unread]')
      if (unread) view.scrollTop = unread.offsetTop - view.clientHeight / 3
      else view.scrollTop = view.scrollHeight
    } else if (follows.current || drafts.length > earlier) {
      // What one writes oneself one wants to see.
      view.scrollTop = view.scrollHeight
    } else if (nowFirst !== first) {
      view.scrollTop += view.scrollHeight - height
    }
    before.current = { first: nowFirst, height: view.scrollHeight, isPlaced: true, drafts: drafts.length }
  }, [scroller, messages, drafts, isLoaded])

  useEffect(() => {
    const view = scroller.current
    if (!view) return
    const look = () => {
      const rest = view.scrollHeight - view.scrollTop - view.clientHeight
      follows.current = rest < NEAR
      setAtEnd(follows.current)
    }
    // A keyboard on a phone, or a growing input, makes the view lower.
    const resized = new ResizeObserver(() => {
      if (follows.current) toEnd()
    })
    view.addEventListener('scroll', look, { passive: true })
    resized.observe(view)
    return () => {
      view.removeEventListener('scroll', look)
      resized.disconnect()
    }
  }, [scroller, toEnd])

  return { isAtEnd, toEnd, above }
}
