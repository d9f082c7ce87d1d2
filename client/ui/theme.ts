/** System, light or dark: the choice is kept in this browser. public/theme.js applies it before the first paint. */
import { computed, signal } from '@preact/signals'

export const THEME_CHOICES = ['system', 'light', 'dark'] as const
export type ThemeChoice = (typeof THEME_CHOICES)[number]

const KEY = 'potluck.theme'
const systemDark = matchMedia('(prefers-color-scheme: dark)')
const systemIsDark = signal(systemDark.matches)
systemDark.addEventListener('change', (event) => {
  systemIsDark.value = event.matches
})

function stored(): ThemeChoice {
  const found = document.documentElement.dataset.theme
  return found === 'light' || found === 'dark' ? found : 'system'
}

export const themeChoice = signal<ThemeChoice>(stored())

/** What is on screen; charts repaint when it changes. */
export const theme = computed<'light' | 'dark'>(() => {
  if (themeChoice.value !== 'system') return themeChoice.value
  return systemIsDark.value ? 'dark' : 'light'
})

export function chooseTheme(choice: ThemeChoice): void {
  if (choice === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = choice
  themeChoice.value = choice
  try {
    localStorage.setItem(KEY, choice)
  } catch {
    // Storage is blocked: the choice holds until the page closes.
  }
}
