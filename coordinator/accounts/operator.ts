/**
 * The operator's login. Until a password is set, every start makes a fresh one-use link; afterwards there is only
 * the password. Sessions are kept as hashes with an end, so a restart logs nobody out.
 */
import { PotluckError } from '../../shared/protocol/errors.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { MetadataStore } from '../store/metadata.ts'
import { hashPassword, hashSecret, newSecret, passwordMatches } from './secrets.ts'

const PASSWORD = 'operator/password'
const session = (secret: string) => `session/${hashSecret(secret)}`

export interface Operator {
  configured(): Promise<boolean>
  /** The token of the one-use link, or null when a password is set. */
  readonly setupToken: string | null
  /** Sets the password; answers a session. @throws PotluckError `setup-done` or `setup-link`. */
  setUp(token: string, password: string): Promise<string>
  /** Answers a session. @throws PotluckError `wrong-password`. */
  logIn(password: string): Promise<string>
  logOut(session: string): Promise<void>
  loggedIn(session: string | undefined): Promise<boolean>
}

export async function openOperator(store: MetadataStore, now: () => number): Promise<Operator> {
  let setupToken = (await store.setting(PASSWORD)) === null ? newSecret() : null

  async function newSession(): Promise<string> {
    const secret = newSecret()
    await store.setSetting(session(secret), String(now() + LIMITS.adminSessionHours * 3_600_000))
    return secret
  }

  return {
    get setupToken() {
      return setupToken
    },
    configured: async () => (await store.setting(PASSWORD)) !== null,
    async setUp(token, password) {
      if (setupToken === null) {
        throw new PotluckError('setup-done', 'The password is set already. Log in with it.', 409)
      }
      if (hashSecret(token) !== hashSecret(setupToken)) {
        throw new PotluckError(
          'setup-link',
          'This link is not valid any more. Use the one printed at the last start.',
          403,
        )
      }
      setupToken = null // before anything is awaited: one use
      await store.setSetting(PASSWORD, await hashPassword(password))
      return newSession()
    },
    async logIn(password) {
      const stored = await store.setting(PASSWORD)
      if (stored === null || !(await passwordMatches(password, stored))) {
        throw new PotluckError('wrong-password', 'That is not the password.', 401)
      }
      return newSession()
    },
    logOut: (secret) => store.setSetting(session(secret), null),
    async loggedIn(secret) {
      if (secret === undefined) return false
      const ends = await store.setting(session(secret))
      return ends !== null && Number(ends) > now()
    },
  }
}
