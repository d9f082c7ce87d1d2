/** The volunteer's secret, kept in this browser. Without storage a tab is a new volunteer on every visit. */
const KEY = 'potluck.volunteer'

export function readToken(): string | undefined {
  try {
    return localStorage.getItem(KEY) ?? undefined
  } catch {
    return undefined // storage is blocked
  }
}

export function writeToken(token: string): void {
  try {
    localStorage.setItem(KEY, token)
  } catch {
    // storage is blocked: this visit still works
  }
}
