import { useCallback, useEffect, useRef, type RefObject } from 'react'

import { useLatest } from './hooks'

/**
 * Tells how far somebody has really seen: up to the last message whose end was on the screen
 * of a page in front. Returns a ref for the end of each message, which says its `data-seq`.
 */
export function useReadMarks(
  root: RefObject<HTMLElement | null>,
  seen: (seq: number) => void,
): (end: HTMLElement | null) => (() => void) | undefined {
  const latest = useLatest(seen)
  const observer = useRef<IntersectionObserver | null>(null)
  const furthest = useRef(0)

  const tell = useCallback(() => {
    if (document.visibilityState === 'visible' && furthest.current > 0) latest.current(furthest.current)
  }, [latest])

  const watch = useCallback(() => {
    observer.current ??= new IntersectionObserver(
      (entries) => {
        for (const { isIntersecting, target } of entries) {
          const seq = Number((target as HTMLElement).dataset.seq)
          if (isIntersecting && seq > furthest.current) furthest.current = seq
        }
        tell()
      },
      { root: root.current },
    )
    return observer.current
  }, [root, tell])

  useEffect(() => {
    document.addEventListener('visibilitychange', tell)
    return () => {
      document.removeEventListener('visibilitychange', tell)
      observer.current?.disconnect()
      observer.current = null
    }
  }, [tell])

  return useCallback(
    (end) => {
      if (!end) return undefined
      watch().observe(end)
      return () => observer.current?.unobserve(end)
    },
    [watch],
  )
}
