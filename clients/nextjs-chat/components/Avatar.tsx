import type { CSSProperties } from 'react'

import { hue, initials } from '../lib/format'
import styles from './Avatar.module.css'

interface Props {
  id: string
  name: string
  isOnline?: boolean
  size?: 'small' | 'large'
}

/** Letters on a colour that belongs to the id. The name stands beside it, so it is not read out. */
export function Avatar({ id, name, isOnline, size = 'small' }: Props) {
  return (
    <span className={styles.avatar} data-size={size} style={{ '--hue': hue(id) } as CSSProperties} aria-hidden="true">
      {initials(name)}
      {isOnline !== undefined && <span className={styles.dot} data-online={isOnline} />}
    </span>
  )
}
