/** Inline icons, 24 units square, drawn with the text's colour. Always decoration: a word stands beside each. */

const PATHS = {
  check: 'M4.5 12.5l5 5 10-11',
  working: 'M20 12a8 8 0 1 1-2.6-5.9M20 3.5V8h-4.5',
  pause: 'M9 5v14M15 5v14',
  play: 'M7 4.5l12 7.5-12 7.5z',
  stop: 'M6 6h12v12H6z',
  late: 'M12 4v10M12 19v.5',
  cross: 'M6 6l12 12M18 6L6 18',
  offline: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16z',
  wait: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4.5l3 2',
  finish: 'M6 21V4M6 4.5h11l-2.5 4 2.5 4H6',
  download: 'M12 4v11M7 10.5l5 5 5-5M5 20h14',
  upload: 'M12 16V5M7 9.5l5-5 5 5M5 20h14',
  flame:
    'M12 3c.5 3.5 5 5.5 5 10.5a5 5 0 0 1-10 0c0-2 1-3.5 2-4.5.3 1.5 1 2.2 1.8 2.5C10.3 8.5 10.5 5.5 12 3z',
  copy: 'M9 9h10v11H9zM5 15V4h10',
  people:
    'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c0-3.5 2.5-6 6.5-6s6.5 2.5 6.5 6M16 4.500a3.5 3.5 0 0 1 0 6M18 14.500c2.3.8 3.5 2.8 3.5 5.5',
} as const

export type IconName = keyof typeof PATHS

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  )
}

/** The pot of the favicon, in the theme's colours. */
export function Pot() {
  return (
    <svg class="pot" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <g fill="none" stroke="var(--steam)" stroke-width="2" stroke-linecap="round">
        <path d="M11 2.500c-1.6 1.5 1.6 3 0 4.7" />
        <path d="M16 1.500c-1.6 1.5 1.6 3.2 0 5" />
        <path d="M21 2.500c-1.6 1.5 1.6 3 0 4.7" />
      </g>
      <path d="M6 12a1.6 1.6 0 0 1 1.6-1.600h16.800A1.6 1.6 0 0 1 26 12v.600H6z" fill="var(--chart-4)" />
      <path d="M6 14.400h20V24a5 5 0 0 1-5 5H11a5 5 0 0 1-5-5z" fill="var(--accent)" />
      <path
        d="M5.4 16.600H3.600a1.9 1.9 0 0 0 0 3.800h1.800M26.6 16.600h1.800a1.9 1.9 0 0 1 0 3.800h-1.8"
        fill="none"
        stroke="var(--accent)"
        stroke-width="2.2"
        stroke-linecap="round"
      />
      <g fill="var(--on-accent)">
        <circle cx="11.5" cy="21.5" r="1.7" />
        <circle cx="16" cy="21.5" r="1.7" />
        <circle cx="20.5" cy="21.5" r="1.7" />
      </g>
    </svg>
  )
}
