/** Configuration: environment variables with the prefix POTLUCK_, parsed once, refused with a sentence. */
import { z } from 'zod'
import { PotluckError } from '../shared/protocol/errors.ts'
import { HELD_OUT_TOKENS } from './evaluate/heldOut.ts'

const path = z.string().min(1)
/** Addresses with commas between them. */
const urls = (kind: RegExp) =>
  z
    .string()
    .transform((list) => list.split(',').map((url) => url.trim()))
    .pipe(
      z
        .array(
          z
            .string()
            .max(200)
            .regex(kind, `must begin with ${kind.source.slice(1)}`),
        )
        .min(1)
        .max(4),
    )

const schema = z
  .strictObject({
    /** Folder of all state. */
    POTLUCK_DATA: path.default('./data'),
    /** Address to listen on; 0.0.0.0 lets other machines in. */
    POTLUCK_HOST: z.string().min(1).default('127.0.0.1'),
    /** 0 takes a free port. */
    POTLUCK_PORT: z.coerce.number().int().min(0).max(65_535).default(8080),
    /** PEM files; both or neither. */
    POTLUCK_TLS_CERT: path.optional(),
    POTLUCK_TLS_KEY: path.optional(),
    /** The address volunteers use, when a proxy stands in front. */
    POTLUCK_PUBLIC_URL: z.url({ protocol: /^https?$/ }).optional(),
    /** How many proxies in front may be believed about the client's address. */
    POTLUCK_TRUSTED_PROXIES: z.coerce.number().int().min(0).max(10).default(0),
    /** Whoever scrapes /metrics has to send it; without one, everybody may. */
    POTLUCK_METRICS_TOKEN: z
      .string()
      .regex(/^[A-Za-z0-9._~+/=-]{16,200}$/, '16 to 200 letters, digits and ._~+/=-')
      .optional(),
    /** Where `corpus add hf:…` finds data sets. */
    POTLUCK_HF_URL: z.url({ protocol: /^https?$/ }).default('https://huggingface.co'),
    /** Where volunteers who exchange directly learn their own addresses, and through whom they go where they must. */
    POTLUCK_STUN: urls(/^stuns?:/).optional(),
    POTLUCK_TURN: urls(/^turns?:/).optional(),
    /** coturn's static-auth-secret; with it every volunteer gets credentials of its own that end. */
    POTLUCK_TURN_SECRET: z.string().min(8).max(200).optional(),
    /** Of validation text, measured after every round. */
    POTLUCK_HELD_OUT_TOKENS: z.coerce.number().int().min(1).max(10_000_000).default(HELD_OUT_TOKENS),
    POTLUCK_LOG: z.enum(['silent', 'error', 'warn', 'info', 'debug']).default('warn'),
  })
  .refine((env) => (env.POTLUCK_TLS_CERT === undefined) === (env.POTLUCK_TLS_KEY === undefined), {
    path: ['POTLUCK_TLS_CERT'],
    message: 'POTLUCK_TLS_CERT and POTLUCK_TLS_KEY must be given together',
  })
  .refine((env) => (env.POTLUCK_TURN === undefined) === (env.POTLUCK_TURN_SECRET === undefined), {
    path: ['POTLUCK_TURN'],
    message: 'POTLUCK_TURN and POTLUCK_TURN_SECRET must be given together',
  })

export interface IceConfig {
  readonly stun: readonly string[]
  readonly turn: { readonly urls: readonly string[]; readonly secret: string } | null
}

export interface Config {
  readonly data: string
  readonly host: string
  readonly port: number
  readonly tls: { readonly cert: string; readonly key: string } | null
  readonly publicUrl: string | null
  readonly trustedProxies: number
  readonly metricsToken: string | null
  /** Address of the Hugging Face hub. */
  readonly hub: string
  readonly ice: IceConfig
  readonly heldOutTokens: number
  readonly log: z.infer<typeof schema>['POTLUCK_LOG']
}

/** @throws PotluckError `bad-config`, naming every variable at fault, unknown POTLUCK_ names included. */
export function readConfig(environment: Record<string, string | undefined>): Config {
  const ours = Object.entries(environment).filter(
    ([name, value]) => name.startsWith('POTLUCK_') && value !== undefined,
  )
  const parsed = schema.safeParse(Object.fromEntries(ours))
  if (!parsed.success) {
    const faults = parsed.error.issues.map(
      (issue) => `${issue.path.join('.') || 'POTLUCK_*'}: ${issue.message}`,
    )
    throw new PotluckError('bad-config', `The configuration is wrong. ${faults.join('; ')}.`)
  }
  const env = parsed.data
  const { POTLUCK_TLS_CERT: cert, POTLUCK_TLS_KEY: key } = env
  return {
    data: env.POTLUCK_DATA,
    host: env.POTLUCK_HOST,
    port: env.POTLUCK_PORT,
    tls: cert !== undefined && key !== undefined ? { cert, key } : null,
    publicUrl: env.POTLUCK_PUBLIC_URL ?? null,
    trustedProxies: env.POTLUCK_TRUSTED_PROXIES,
    metricsToken: env.POTLUCK_METRICS_TOKEN ?? null,
    hub: env.POTLUCK_HF_URL.replace(/\/+$/, ''),
    ice: {
      stun: env.POTLUCK_STUN ?? [],
      turn:
        env.POTLUCK_TURN && env.POTLUCK_TURN_SECRET !== undefined
          ? { urls: env.POTLUCK_TURN, secret: env.POTLUCK_TURN_SECRET }
          : null,
    },
    heldOutTokens: env.POTLUCK_HELD_OUT_TOKENS,
    log: env.POTLUCK_LOG,
  }
}
