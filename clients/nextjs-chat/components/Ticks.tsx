import type { Tick } from '@rowcast/chat'

import styles from './Ticks.module.css'

const SAID = {
  sending: 'Sending',
  failed: 'Not sent',
  sent: 'Sent',
  delivered: 'Delivered',
  read: 'Read',
} as const

/** One tick, two ticks, two coloured ticks; a clock before. */
export function Ticks({ state }: { state: Tick['state'] | 'sending' | 'failed' }) {
  return (
    <svg className={styles.ticks} data-tick={state} viewBox="0 0 20 12" role="img" aria-label={SAID[state]}>
      {state === 'sending' && (
        <>
          <circle cx="14" cy="6" r="4.5" />
          <path d="M14 3.5V6l1.7 1" />
        </>
      )}
      {state === 'failed' && <path d="M14 2v5M14 9.6v.1" />}
      {(state === 'delivered' || state === 'read') && <path d="M1.5 6.5l3 3 6-7.5" />}
      {(state === 'sent' || state === 'delivered' || state === 'read') && <path d="M8.5 8.5l1 1 6.5-7.5" />}
      {state === 'sent' && <path d="M6.5 6.5l2.5 2.5" />}
    </svg>
  )
}
