/** What browsers need to find one another: STUN as configured, and TURN with credentials that end (coturn's REST form). */
import { createHmac } from 'node:crypto'
import type { z } from 'zod'
import type { iceServerSchema } from '../../shared/protocol/mesh.ts'
import type { IceConfig } from '../config.ts'

export type IceServer = z.infer<typeof iceServerSchema>

const CREDENTIAL_SECONDS = 6 * 3_600

/** `username` is `<unix seconds of its end>:<volunteer>`, `credential` base64(HMAC-SHA1(secret, username)). */
export function iceServers({ stun, turn }: IceConfig, volunteer: string, now: number): IceServer[] {
  const servers: IceServer[] = stun.length > 0 ? [{ urls: [...stun] }] : []
  if (turn) {
    const username = `${Math.floor(now / 1_000) + CREDENTIAL_SECONDS}:${volunteer}`
    const credential = createHmac('sha1', turn.secret).update(username).digest('base64')
    servers.push({ urls: [...turn.urls], username, credential })
  }
  return servers
}
