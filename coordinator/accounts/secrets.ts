/** Secrets: made from the system's randomness, kept only as hashes, compared in constant time. */
import { createHash, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'

/** 256 random bits, URL-safe. */
export const newSecret = (): string => randomBytes(32).toString('base64url')
/** 96 random bits: an id that nobody guesses and nobody meets twice. */
export const newId = (): string => randomBytes(12).toString('hex')
export const hashSecret = (secret: string): string => createHash('sha256').update(secret).digest('hex')

/** Whether two secrets are equal, in a time that does not tell how far they are. */
export const sameSecret = (a: string, b: string): boolean =>
  timingSafeEqual(Buffer.from(hashSecret(a)), Buffer.from(hashSecret(b)))

/** 32 MB and some tens of milliseconds a try (OWASP's scrypt parameters: N = 2^15, r = 8, p = 3). */
const COST = { N: 2 ** 15, r: 8, p: 3, maxmem: 64 * 1024 * 1024 }

const derive = (password: string, salt: Buffer): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    scrypt(password.normalize('NFKC'), salt, 32, COST, (error, key) => (error ? reject(error) : resolve(key)))
  })

/** `scrypt$<salt>$<key>`, both base64url. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  return `scrypt$${salt.toString('base64url')}$${(await derive(password, salt)).toString('base64url')}`
}

export async function passwordMatches(password: string, stored: string): Promise<boolean> {
  const [kind, salt = '', key = ''] = stored.split('$')
  const wanted = Buffer.from(key, 'base64url')
  const got = await derive(password, Buffer.from(salt, 'base64url'))
  return kind === 'scrypt' && wanted.length === got.length && timingSafeEqual(wanted, got)
}
