/**
 * The namespace `/volunteers`: one socket a tab. Every message is parsed, counted against a rate, answered with a
 * result or an ErrorBody; whatever a tab sends, the handler never throws past `answer`.
 */
import { RateLimiterMemory } from 'rate-limiter-flexible'
import type { DefaultEventsMap, Namespace, Server, Socket } from 'socket.io'
import type { z } from 'zod'
import { type ErrorBody, PotluckError } from '../../shared/protocol/errors.ts'
import { sliceAnswerSchema, sliceRequestSchema } from '../../shared/protocol/evaluation.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import {
  heldSchema,
  linkedSchema,
  MESH_LIMITS,
  meshSchema,
  offerSchema,
  quitSchema,
  signalSchema,
} from '../../shared/protocol/mesh.ts'
import {
  type CoordinatorToVolunteer,
  joinSchema,
  leaseRequestSchema,
  PROTOCOL_VERSION,
  releaseSchema,
  stateSchema,
  type VolunteerToCoordinator,
  volunteerAuthSchema,
  type Welcome,
} from '../../shared/protocol/messages.ts'
import { newsBetween } from '../../shared/protocol/news.ts'
import type { RunView } from '../../shared/protocol/run.ts'
import { identify } from '../accounts/volunteers.ts'
import { parse } from '../http/parse.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Clock } from '../rounds/driver.ts'
import type { Live } from '../runs/roster.ts'
import type { Runs } from '../runs/runs.ts'
import type { MetadataStore } from '../store/metadata.ts'
import type { Gate } from './gate.ts'
import { throttle } from './throttle.ts'

export interface RealtimeParts {
  readonly store: MetadataStore
  readonly runs: Runs
  readonly mesh: Mesh
  readonly clock: Clock
  readonly gate: Gate
  readonly log: { error(error: unknown): void }
}

interface SocketData {
  live: Live
  welcome: Omit<Welcome, 'run'>
}
type Tab = Socket<VolunteerToCoordinator, CoordinatorToVolunteer, DefaultEventsMap, SocketData>
type Tabs = Namespace<VolunteerToCoordinator, CoordinatorToVolunteer, DefaultEventsMap, SocketData>

const VIEW_INTERVAL_MS = 500
/** Messages with numbers, to all tabs together. */
const VIEWS_PER_SECOND = 4_000

/** Answers a function that tells a volunteer to go and closes their sockets. */
export function volunteerNamespace(
  server: Server,
  parts: RealtimeParts,
): (volunteer: string, reason: string) => void {
  const tabs: Tabs = server.of('/volunteers')
  tabs.use((socket, next) => {
    welcome(socket, parts).then(
      () => next(),
      (error: unknown) => next(toConnectError(error)),
    )
  })
  tabs.on('connection', (socket) => {
    // From here on it hears of what changes: what it is told first must not be older.
    socket.emit('welcome', { ...socket.data.welcome, run: parts.runs.view() })
    serve(socket, parts)
  })
  parts.mesh.speakThrough((volunteer, event, message) => {
    tabs.to(volunteer).emit(event, message as never) // mesh.ts makes what the event's schema says
  })
  parts.runs.onCall((volunteer) => tabs.to(volunteer).emit('call'))
  broadcastViews(tabs, parts.runs)
  return (volunteer, reason) => {
    tabs.to(volunteer).emit('removed', { reason })
    tabs.in(volunteer).disconnectSockets(true)
  }
}

/** Finds out who it is and what to greet them with. @throws PotluckError `protocol-version`, `volunteer-removed`, `bad-request`. */
async function welcome(socket: Tab, { store, runs, clock }: RealtimeParts): Promise<void> {
  const { protocol, token } = parse(volunteerAuthSchema, socket.handshake.auth)
  if (protocol !== PROTOCOL_VERSION) {
    throw new PotluckError('protocol-version', 'This page is of another version. Reload it.', 409)
  }
  const { volunteer, token: fresh } = await identify(store, token, clock.now())
  if (volunteer.removed !== null) {
    throw new PotluckError('volunteer-removed', volunteer.removed, 403)
  }
  const credit = (await store.credit([volunteer.id])).get(volunteer.id)
  socket.data.live = runs.roster.arrive(volunteer)
  await socket.join(volunteer.id)
  const { id, name } = volunteer
  socket.data.welcome = {
    volunteer: { id, name, acceptedContributions: credit?.accepted ?? 0, tokens: credit?.tokens ?? 0 },
    ...(fresh !== undefined && { token: fresh }),
  }
}

function toConnectError(error: unknown): Error {
  const ours = error instanceof PotluckError ? error : new PotluckError('internal', 'Could not connect.', 500)
  return Object.assign(new Error(ours.message), { data: ours.toBody().error }) // Socket.IO sends `data` along
}

function serve(socket: Tab, parts: RealtimeParts): void {
  const { runs, store, gate, clock, mesh } = parts
  const { live } = socket.data
  const leaveGate = gate.enter(gate.addressOf(socket.request))
  const budget = new RateLimiterMemory({
    points: LIMITS.volunteerMessages.points,
    duration: LIMITS.volunteerMessages.seconds,
  })
  const on = handlers(socket, budget, parts)

  on('join', joinSchema, async (message) => {
    runs.roster.report(live, { ...message, willing: true })
    await store.updateVolunteer(live.id, { ...message, lastSeenAt: clock.now() })
    await runs.presence(live.id, 'join')
    if (live.meets) mesh.agree(live.id, true)
    return { leases: runs.leasesOf(live.id) }
  })
  on('leave', null, async () => {
    live.willing = false
    mesh.gone(live.id, true)
    await runs.presence(live.id, 'leave')
    return { ok: true }
  })
  on('lease', leaseRequestSchema, (message) => {
    live.tokensPerSecond = message.tokensPerSecond
    return runs.request(live.id, message)
  })
  on('release', releaseSchema, async ({ lease }) => {
    await runs.release(live.id, lease)
    return { ok: true }
  })
  on('slice', sliceRequestSchema, async (message) => {
    if (!live.willing) throw new PotluckError('bad-request', 'Only who takes part measures. Join first.')
    return runs.slices.request(live.id, message)
  })
  on('measured', sliceAnswerSchema, async (message) => {
    runs.slices.answer(live.id, message)
    return { ok: true }
  })
  on('mesh', meshSchema, async (message) => {
    live.meets = message.on
    if (live.willing || !message.on) mesh.agree(live.id, message.on)
    runs.touch()
    return { ok: true }
  })
  on('offer', offerSchema, async (message) => mesh.offer(live.id, message))
  on('linked', linkedSchema, async (message) => mesh.linked(live.id, message))
  on('held', heldSchema, async (message) => mesh.held(live.id, message))
  on('quit', quitSchema, async (message) => mesh.quit(live.id, message))
  const signals = handlers(
    socket,
    new RateLimiterMemory({ points: MESH_LIMITS.signals.points, duration: MESH_LIMITS.signals.seconds }),
    parts,
  )
  signals('signal', signalSchema, async (message) => mesh.signal(live.id, message))
  on('state', stateSchema, async ({ state, step, lease: _lease, loss: _loss, ...told }) => {
    const known = Object.entries(told).filter(([, value]) => value !== undefined)
    runs.roster.report(live, { state, step: step ?? null, ...Object.fromEntries(known) })
    runs.touch()
    return { ok: true }
  })
  socket.on('disconnect', () => {
    leaveGate()
    depart(live, parts).catch((error: unknown) => parts.log.error(error))
  })
}

async function depart(live: Live, { runs, store, clock, mesh }: RealtimeParts): Promise<void> {
  if (!runs.roster.depart(live.id)) return
  mesh.gone(live.id, false)
  await runs.presence(live.id, 'disconnect')
  const { id, backend, device, tokensPerSecond } = live
  await store.updateVolunteer(id, { backend, device, tokensPerSecond, lastSeenAt: clock.now() })
}

/** Registers a handler behind rate and schema; `schema` null for messages without a body. */
function handlers(socket: Tab, budget: RateLimiterMemory, { log }: RealtimeParts) {
  return <S extends z.ZodType>(
    event: keyof VolunteerToCoordinator,
    schema: S | null,
    handle: (message: z.output<S>) => Promise<unknown>,
  ) => {
    socket.on(event, (...sent: unknown[]) => {
      const last = sent.at(-1)
      const answer = typeof last === 'function' ? (last as (answer: unknown) => void) : () => undefined // Socket.IO's ack
      const work = async () => {
        await budget.consume(socket.id).catch(() => {
          throw new PotluckError('rate-limited', 'Too many messages. Slow down.', 429)
        })
        return handle(schema === null ? (undefined as z.output<S>) : parse(schema, sent[0])) // no body, no use of it
      }
      work().then(answer, (error: unknown) => answer(toErrorBody(error, log)))
    })
  }
}

function toErrorBody(error: unknown, log: { error(error: unknown): void }): ErrorBody {
  if (error instanceof PotluckError) return error.toBody()
  log.error(error)
  return new PotluckError('internal', 'Something went wrong here. It has been logged.', 500).toBody()
}

/**
 * Everybody hears of a new phase at once, of numbers a few times a second, or less often the more there are who hear it; of
 * nothing new not at all.
 */
function broadcastViews(tabs: Tabs, runs: Runs): void {
  let lastPhase = ''
  let told: RunView | null = null
  const interval = () => Math.max(VIEW_INTERVAL_MS, (1_000 * tabs.sockets.size) / VIEWS_PER_SECOND)
  const emit = throttle(() => {
    const view = runs.view()
    const news = view !== null && told !== null ? newsBetween(told, view) : 'everything'
    if (news === 'nothing' || (view === null && told === null)) return
    told = view
    if (news === 'everything') tabs.emit('run', view)
    else tabs.emit('news', news)
  }, interval)
  runs.onChange(() => {
    const phase = runs.phase
    if (phase === lastPhase) emit()
    else emit.now()
    lastPhase = phase
  })
}
