/** What things are called in every message and route. */
import { z } from 'zod'

export const hashSchema = z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 in 64 lower-case hex digits')
export const idSchema = z.string().regex(/^[A-Za-z0-9_-]{8,40}$/, 'an id of 8 to 40 letters, digits, - or _')
