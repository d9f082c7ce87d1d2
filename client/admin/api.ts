/** The panel's HTTP calls. Every refusal becomes a PotluckError with the coordinator's code and sentence. */
import { z } from 'zod'
import type { PresetName } from '../../shared/model/config.ts'
import { type AdminSession, type AdminView, ROUTES, type RunAction } from '../../shared/protocol/admin.ts'
import type { StartRequest } from '../../shared/protocol/checkpoints.ts'
import { ERROR_CODES, PotluckError } from '../../shared/protocol/errors.ts'
import { hashSchema } from '../../shared/protocol/names.ts'
import type { RunConfig } from '../../shared/protocol/run.ts'
import { strings } from '../ui/strings.ts'

const errorBodySchema = z.object({ error: z.object({ code: z.enum(ERROR_CODES), message: z.string() }) })
const importedSchema = z.object({ hash: hashSchema })
const sessionSchema = z.object({ configured: z.boolean(), loggedIn: z.boolean() })

async function failure(response: Response): Promise<PotluckError> {
  const body = errorBodySchema.safeParse(await response.json().catch(() => null))
  if (body.success) return new PotluckError(body.data.error.code, body.data.error.message, response.status)
  return new PotluckError('internal', `The coordinator answered ${response.status}.`, response.status)
}

/** @throws PotluckError for every answer that is not a success, and when none comes. */
async function request(method: 'GET' | 'POST', path: string, body?: unknown): Promise<unknown> {
  const sent = body === undefined ? undefined : new Blob([JSON.stringify(body)], { type: 'application/json' })
  return send(method, path, sent)
}

async function send(method: 'GET' | 'POST' | 'PUT', path: string, body?: Blob): Promise<unknown> {
  const type = body instanceof File ? 'application/octet-stream' : 'application/json'
  const sent = body === undefined ? {} : { body, headers: { 'content-type': type } }
  const response = await fetch(path, { method, credentials: 'same-origin', ...sent }).catch(() => null)
  if (response === null) throw new PotluckError('internal', strings.admin.access.unreachable, 0)
  if (!response.ok) throw await failure(response)
  const text = await response.text()
  return text === '' ? null : JSON.parse(text)
}

export const api = {
  session: async (): Promise<AdminSession> => sessionSchema.parse(await request('GET', ROUTES.adminSession)),
  setup: (token: string, password: string) => request('POST', ROUTES.adminSetup, { token, password }),
  login: (password: string) => request('POST', ROUTES.adminLogin, { password }),
  logout: () => request('POST', ROUTES.adminLogout),
  // The coordinator is ours and the route is behind its login: the view's type is the contract, not re-checked.
  view: async () => (await request('GET', ROUTES.adminView)) as AdminView,
  create: (config: RunConfig) => request('POST', ROUTES.adminRuns, config),
  createFrom: (config: RunConfig, start: StartRequest) =>
    request('POST', ROUTES.adminRunsFrom, { config, start }),
  rollBack: (run: string, round: number) => request('POST', ROUTES.adminRollBack, { run, round }),
  measureTasks: (run: string) => request('POST', ROUTES.adminRunTasks(run), {}),
  bringWeights: async (preset: PresetName, vocabSize: number, file: File): Promise<{ hash: string }> => {
    const query = new URLSearchParams({ preset, vocabSize: String(vocabSize), name: file.name.slice(0, 100) })
    return importedSchema.parse(await send('PUT', `${ROUTES.adminImports}?${query}`, file))
  },
  act: (action: RunAction) => request('POST', ROUTES.adminRunAction(action)),
  remove: (volunteer: string, reason: string) => request('POST', ROUTES.adminRemove(volunteer), { reason }),
}

/** A refusal as one sentence with its code. */
export function errorText(error: unknown): string {
  if (error instanceof PotluckError) return strings.admin.errorWithCode(error.message, error.code)
  return strings.admin.errorWithCode(error instanceof Error ? error.message : String(error), 'internal')
}
