/** The socket to the coordinator, typed and parsed. It reconnects by itself; who listens decides what that means. */
import { io, type Socket } from 'socket.io-client'
import type { z } from 'zod'
import {
  type SliceAnswer,
  type SliceGrant,
  type SliceRequest,
  sliceGrantSchema,
} from '../../shared/protocol/evaluation.ts'
import {
  exchangeSchema,
  groupOverSchema,
  groupSchema,
  type OfferAnswer,
  offerAnswerSchema,
  type offerSchema,
  ownSchema,
  reduceSchema,
  relayedSchema,
  settledSchema,
} from '../../shared/protocol/mesh.ts'
import {
  type CoordinatorToVolunteer,
  type Joined,
  joinedSchema,
  joinSchema,
  type LeaseAnswer,
  type LeaseRequest,
  leaseAnswerSchema,
  PROTOCOL_VERSION,
  type VolunteerState,
  type VolunteerToCoordinator,
  type Welcome,
  welcomeSchema,
} from '../../shared/protocol/messages.ts'
import { type RunNews, runNewsSchema } from '../../shared/protocol/news.ts'
import { type RunView, runViewSchema } from '../../shared/protocol/run.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { readToken, writeToken } from '../storage/identity.ts'
import { messageOf } from './errors.ts'
import type { SwarmState, SwarmView } from './view.ts'

/** What the coordinator says to groups; parsed. */
export type MeshEvents = Pick<
  Mesh,
  'group' | 'groupOver' | 'relayed' | 'exchange' | 'reduce' | 'own' | 'settled'
>

export interface ConnectionEvents {
  welcome(message: Welcome): void
  run(view: RunView | null): void
  news(news: RunNews): void
  /** There is a place for who was refused a lease. */
  called(): void
  lost(): void
  /** The coordinator cannot be reached or will not have us. `final` errors are not tried again. */
  refused(error: { code: string; message: string; final: boolean }): void
  removed(reason: string): void
}

const ANSWER_MS = 15_000
const FINAL = ['volunteer-removed', 'protocol-version', 'bad-request']

export class Connection {
  readonly #socket: Socket<CoordinatorToVolunteer, VolunteerToCoordinator>
  #token = readToken()

  constructor(events: ConnectionEvents) {
    this.#socket = io('/volunteers', {
      transports: ['websocket'],
      auth: (give) =>
        give({ protocol: PROTOCOL_VERSION, ...(this.#token !== undefined && { token: this.#token }) }),
      reconnectionDelayMax: 10_000,
    })
    this.#socket.on('welcome', (message) => {
      const welcome = welcomeSchema.parse(message)
      if (welcome.token !== undefined) {
        this.#token = welcome.token
        writeToken(welcome.token)
      }
      events.welcome(welcome)
    })
    this.#socket.on('run', (message) => events.run(runViewSchema.nullable().parse(message)))
    this.#socket.on('news', (message) => events.news(runNewsSchema.parse(message)))
    this.#socket.on('call', () => events.called())
    this.#socket.on('removed', ({ reason }) => {
      this.#socket.disconnect()
      events.removed(reason)
    })
    this.#socket.on('disconnect', () => events.lost())
    this.#socket.on('connect_error', (error) => events.refused(this.#refusal(error)))
  }

  /** Groups and exchanges are told from here on. */
  meet(mesh: MeshEvents): void {
    const socket = this.#socket
    socket.on('group', (message) => mesh.group(groupSchema.parse(message)))
    socket.on('groupOver', (message) => {
      const { group, why } = groupOverSchema.parse(message)
      mesh.groupOver(group, why)
    })
    socket.on('relayed', (message) => {
      const { group, from, signal } = relayedSchema.parse(message)
      mesh.relayed(group, from, signal)
    })
    socket.on('exchange', (message) => mesh.exchange(exchangeSchema.parse(message)))
    socket.on('reduce', (message) => mesh.reduce(reduceSchema.parse(message)))
    socket.on('own', (message) => {
      const { exchange, slice } = ownSchema.parse(message)
      mesh.own(exchange, slice)
    })
    socket.on('settled', (message) => {
      const { exchange, receipt, why } = settledSchema.parse(message)
      mesh.settled(exchange, receipt, why)
    })
  }

  async mesh(on: boolean): Promise<void> {
    await answered(this.#patient.emitWithAck('mesh', { on }))
  }

  signal(group: string, to: number, signal: string): void {
    this.#socket.emit('signal', { group, to, signal })
  }

  linked(group: string, others: readonly number[], bytesPerSecond: number | null): void {
    this.#socket.emit('linked', { group, with: [...others], bytesPerSecond })
  }

  async offer(offer: z.infer<typeof offerSchema>): Promise<OfferAnswer> {
    return offerAnswerSchema.parse(await answered(this.#patient.emitWithAck('offer', offer)))
  }

  held(exchange: string, from: readonly number[]): void {
    this.#socket.emit('held', { exchange, from: [...from] })
  }

  quit(exchange: string, why: string): void {
    this.#socket.emit('quit', { exchange, why })
  }

  /** The volunteer's secret; empty before the first welcome. */
  get token(): string {
    return this.#token ?? ''
  }

  get connected(): boolean {
    return this.#socket.connected
  }

  /** Its open leases. @throws Error `unanswered`, or with the code of the answer; so does every question here. */
  async join(message: z.infer<typeof joinSchema>): Promise<Joined> {
    return joinedSchema.parse(await answered(this.#patient.emitWithAck('join', joinSchema.parse(message))))
  }

  async leave(): Promise<void> {
    await answered(this.#patient.emitWithAck('leave'))
  }

  async lease(request: LeaseRequest): Promise<LeaseAnswer> {
    return leaseAnswerSchema.parse(await answered(this.#patient.emitWithAck('lease', request)))
  }

  async slice(request: SliceRequest): Promise<SliceGrant> {
    return sliceGrantSchema.parse(await answered(this.#patient.emitWithAck('slice', request)))
  }

  async measured(answer: SliceAnswer): Promise<void> {
    await answered(this.#patient.emitWithAck('measured', answer))
  }

  async release(lease: string): Promise<void> {
    await answered(this.#patient.emitWithAck('release', { lease }))
  }

  /** What this tab is doing. Lost when there is no connection: the next one tells anew. */
  tell({ state, mesh, me: { utilisation, bytesUp, bytesDown } }: SwarmView): void {
    if (!this.#socket.connected) return
    const training =
      state.kind === 'training' ? { step: state.step, tokensPerSecond: state.tokensPerSecond } : {}
    const peers = { peerBytesUp: mesh.sent, peerBytesDown: mesh.received }
    const counted = { ...(utilisation !== null && { utilisation }), bytesUp, bytesDown, ...peers }
    this.#socket.volatile.emit('state', { state: volunteerState(state), ...training, ...counted })
  }

  get #patient() {
    return this.#socket.timeout(ANSWER_MS)
  }

  #refusal(error: Error & { data?: { code?: string; message?: string } }) {
    const code = error.data?.code ?? 'unreachable'
    const final = FINAL.includes(code)
    if (final) this.#socket.disconnect()
    return { code, message: error.data?.message ?? error.message, final }
  }
}

/** @throws Error `unanswered` when the connection is lost or there is no answer in time; or what the answer says. */
async function answered(asked: Promise<unknown>): Promise<unknown> {
  const answer = await asked.catch((error: unknown) => {
    throw Object.assign(new Error(`The coordinator did not answer: ${messageOf(error)}.`), {
      code: 'unanswered',
    })
  })
  if (typeof answer !== 'object' || answer === null || !('error' in answer)) return answer
  const { code, message } = answer.error as { code: string; message: string } // ErrorBody is all that has `error`
  throw Object.assign(new Error(message), { code })
}

/** The coordinator's word for a state. */
function volunteerState({ kind }: SwarmState): VolunteerState {
  switch (kind) {
    case 'training':
    case 'sending':
    case 'paused':
    case 'stopped':
    case 'waiting':
      return kind
    case 'checking':
      return 'sending'
    case 'ahead':
      return 'waiting'
    case 'testing':
    case 'loading':
    case 'engine-lost':
      return 'preparing'
    default:
      return 'watching'
  }
}
