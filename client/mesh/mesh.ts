/**
 * This tab among others: in a group while the volunteer agrees to it, exchanging contributions and passing blobs on, with
 * the direct way wherever that does not work. What the page shows of it is MeshState.
 */
import { type Remote, transfer, wrap } from 'comlink'
import type { CodecName } from '../../shared/codec/codec.ts'
import type { Weighed } from '../../shared/mesh/slices.ts'
import { ROUTES } from '../../shared/protocol/admin.ts'
import {
  type ExchangeMessage,
  type ExchangePiece,
  type GroupMessage,
  MESH_LIMITS,
  type OfferAnswer,
  peerHeaderSchema,
  type ReduceMessage,
} from '../../shared/protocol/mesh.ts'
import type { Receipt } from '../../shared/protocol/run.ts'
import { traffic } from '../storage/blobs.ts'
import { byXmlHttpRequest, type Transport } from '../swarm/transport.ts'
import { sendBody } from '../swarm/upload.ts'
import { type Offered, TabExchange } from './exchange.ts'
import { MeshGroup } from './group.ts'
import type { Channel, LinkPorts } from './link.ts'
import type { Meaner } from './mean.worker.ts'
import { SharedBlobs } from './sharedBlobs.ts'

export interface MeshState {
  /** The volunteer agreed that others see this tab's IP address. */
  readonly agreed: boolean
  /** Members, this tab too, and those with whom there is a channel. */
  readonly group: { readonly size: number; readonly linked: number } | null
  /** Contributions of this visit that went through a group. */
  readonly exchanged: number
  /** Bytes to and from other tabs in this visit. */
  readonly sent: number
  readonly received: number
}

/** What this tab tells the coordinator. */
export interface MeshPorts {
  mesh(on: boolean): Promise<void>
  signal(group: string, to: number, signal: string): void
  linked(group: string, others: readonly number[], bytesPerSecond: number | null): void
  offer(offer: {
    group: string
    lease: string
    steps: number
    loss: number
    sha256: string
    slices: string[]
  }): Promise<OfferAnswer>
  held(exchange: string, from: readonly number[]): void
  quit(exchange: string, why: string): void
  token(): string
  changed(state: MeshState): void
  log(text: string): void
  /** For measurements: a slower line. */
  readonly through?: (channel: Channel) => Channel
  readonly transport?: Transport
}

export interface MeshContribution extends Offered {
  readonly steps: number
  readonly loss: number
  /** When its round ends; null when nobody knows. Unix milliseconds. */
  readonly deadlineAt: number | null
}

const AGREED = 'potluck/mesh'
/** An exchange whose end is not told in so long, without a deadline, is given up. */
const LONGEST_MS = 600_000

export class Mesh {
  readonly #ports: MeshPorts
  #agreed = readAgreed()
  #group: MeshGroup | null = null
  #blobs: SharedBlobs | null = null
  #exchange: TabExchange | null = null
  /** Id of the exchange, once it is known. */
  #exchangeId: string | null = null
  /** Messages that came before the answer to the offer. */
  #early: { exchange: string; apply: (exchange: TabExchange) => void }[] = []
  #exchanged = 0
  #before = { sent: 0, received: 0 }
  #rate: number | null = null
  #worker: { worker: Worker; remote: Remote<Meaner> } | null = null
  #largestBlob = 0

  constructor(ports: MeshPorts) {
    this.#ports = ports
  }

  get state(): MeshState {
    const { sent, received } = this.#group?.traffic ?? { sent: 0, received: 0 }
    const group = this.#group && { size: this.#group.message.size, linked: this.#group.linked.length + 1 }
    return {
      agreed: this.#agreed,
      group,
      exchanged: this.#exchanged,
      sent: this.#before.sent + sent,
      received: this.#before.received + received,
    }
  }

  /** The volunteer decides; remembered. */
  agree(on: boolean): void {
    this.#agreed = on
    writeAgreed(on)
    if (!on) this.#leave('The volunteer wants to meet nobody.')
    this.announce()
    this.#changed()
  }

  /** Bytes a second to the other tabs in the last exchange; null before the first. */
  get bytesPerSecond(): number | null {
    return this.#rate
  }

  /** Tells the coordinator, after each connection. */
  announce(): void {
    void this.#ports.mesh(this.#agreed).catch(() => undefined) // the next connection tells again
  }

  /** Bytes of the largest blob that may be passed on: a model's. */
  expectBlobsOf(bytes: number): void {
    this.#largestBlob = bytes
  }

  /** The connection is lost, or this tab stops. */
  leave(why: string): void {
    this.#leave(why)
    this.#changed()
  }

  // From the coordinator.

  group(message: GroupMessage): void {
    this.#leave('Another group.')
    if (!this.#agreed) return
    const { group: id } = message
    const group = new MeshGroup(message, {
      signal: (to, signal) => this.#ports.signal(id, to, signal),
      linked: (others) => {
        this.#ports.linked(id, others, this.#rate)
        this.#changed()
      },
      accept: (from, header) => this.#accept(from, header),
      through: this.#ports.through,
    })
    this.#group = group
    this.#blobs = new SharedBlobs(group, () => this.#largestBlob)
    this.#changed()
  }

  groupOver(id: string, why: string): void {
    if (this.#group?.message.group !== id) return
    this.#ports.log(`The group is over: ${why}`)
    this.#leave(why)
    this.#changed()
  }

  relayed(id: string, from: number, signal: string): void {
    if (this.#group?.message.group === id) this.#group.relayed(from, signal)
  }

  exchange(message: ExchangeMessage): void {
    this.#forExchange(message.exchange, (exchange) => exchange.begin(message))
  }

  reduce(message: ReduceMessage): void {
    this.#forExchange(message.exchange, (exchange) => exchange.reduce(message))
  }

  own(exchange: string, slice: number | null): void {
    this.#forExchange(exchange, (one) => one.own(slice))
  }

  settled(exchange: string, receipt: Receipt | null, why: string): void {
    this.#forExchange(exchange, (one) => {
      if (receipt === null) this.#ports.log(`Sending directly: ${why}`)
      one.end(receipt)
    })
  }

  // For the tab.

  /** Brings a contribution through the group; null: it has to go directly. @throws the signal's reason when aborted */
  async deliver(contribution: MeshContribution, signal: AbortSignal): Promise<Receipt | null> {
    const group = this.#group
    if (!group?.whole || this.#exchange !== null) return null
    // Its own, so that what is late is never brought to the next one.
    let id: string | null = null
    const quit = (why: string) => id !== null && this.#ports.quit(id, why)
    const exchange = new TabExchange(group, contribution, {
      held: (from) => id !== null && this.#ports.held(id, from),
      quit,
      mean: (codec, count, members) => this.#mean(codec, count, members),
      isSlice: (codec, count, bytes) => this.#meaner.isSlice(codec, count, bytes),
      upload: (piece, bytes) =>
        this.#upload({ url: ROUTES.exchange(id ?? '', piece.slice), piece, bytes }, signal),
    })
    this.#exchange = exchange
    try {
      const { lease, steps, loss, deadlineAt } = contribution
      const commitments = await exchange.commitments()
      const answer = await this.#ports.offer({
        group: group.message.group,
        lease,
        steps,
        loss,
        ...commitments,
      })
      if ('direct' in answer) {
        this.#ports.log(`Sending directly: ${answer.direct}.`)
        return null
      }
      id = answer.exchange
      this.#exchangeId = id
      for (const { exchange: of, apply } of this.#early.splice(0)) if (of === id) apply(exchange)
      const left = deadlineAt === null ? LONGEST_MS : deadlineAt - Date.now()
      const receipt = await within(exchange.settled, 0.8 * left, signal)
      if (receipt?.result !== 'accepted') {
        quit('It goes directly.') // should the coordinator still count on it
        return null
      }
      this.#exchanged += 1
      return receipt
    } catch (error) {
      signal.throwIfAborted()
      this.#ports.log(`An exchange failed, sending directly: ${String(error)}`)
      quit('A fault.')
      return null
    } finally {
      this.#exchange = null
      this.#exchangeId = null
      this.#early = []
      this.#measured(exchange.bytesPerSecond)
      this.#changed()
    }
  }

  /** A blob through the group; null: it is to be fetched alone. */
  async fetch(hash: string, bytes: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer> | null> {
    if (!this.#group?.whole || bytes < MESH_LIMITS.sharedBlobBytes || bytes > this.#largestBlob) return null
    const blob = (await this.#blobs?.fetch(hash, bytes, signal)) ?? null
    this.#changed()
    return blob
  }

  #measured(bytesPerSecond: number | null): void {
    if (bytesPerSecond === null) return
    this.#rate = bytesPerSecond
    const group = this.#group
    if (group) this.#ports.linked(group.message.group, group.linked, bytesPerSecond)
  }

  #forExchange(id: string, apply: (exchange: TabExchange) => void): void {
    if (this.#exchange === null) return
    if (this.#exchangeId === null) {
      if (this.#early.length < 8) this.#early.push({ exchange: id, apply })
    } else if (this.#exchangeId === id) apply(this.#exchange)
  }

  /** What another tab wants to send. */
  #accept(from: number, sent: unknown): ReturnType<LinkPorts['accept']> {
    const header = peerHeaderSchema.safeParse(sent)
    if (!header.success) return null
    const { data } = header
    if (data.kind === 'blob') return this.#blobs?.accept(from, data) ?? null
    const known = this.#exchangeId === null || this.#exchangeId === data.exchange
    return known ? (this.#exchange?.accept(from, data) ?? null) : null
  }

  get #meaner(): Remote<Meaner> {
    this.#worker ??= openMeaner()
    return this.#worker.remote
  }

  async #mean(
    codec: CodecName,
    count: number,
    members: readonly Weighed[],
  ): Promise<Uint8Array<ArrayBuffer>> {
    // Copies: these slices may be wanted again for a smaller set.
    const own = members.map(({ bytes, weight }) => ({ bytes: bytes.slice(), weight }))
    const buffers = own.map(({ bytes }) => bytes.buffer)
    return this.#meaner.mean(codec, count, transfer(own, buffers))
  }

  async #upload(
    { url, piece, bytes }: { url: string; piece: ExchangePiece; bytes: Uint8Array<ArrayBuffer> },
    signal: AbortSignal,
  ): Promise<void> {
    const onNetwork = (more: number) => {
      traffic.up += more
    }
    const told = { kind: piece.kind, attempt: String(piece.attempt) }
    await sendBody({
      body: { url, bytes, told, onNetwork },
      ...{
        token: this.#ports.token(),
        signal,
        onSent: () => undefined,
        transport: this.#ports.transport ?? byXmlHttpRequest,
      },
      answered: ({ status, body }) => (status === 200 ? { body } : 'unanswered'),
    })
  }

  #leave(why: string): void {
    const group = this.#group
    if (group === null) return
    const { sent, received } = group.traffic
    this.#before = { sent: this.#before.sent + sent, received: this.#before.received + received }
    this.#group = null
    this.#blobs = null
    group.close(why)
    this.#exchange?.end(null)
  }

  #changed(): void {
    this.#ports.changed(this.state)
  }
}

function openMeaner() {
  const worker = new Worker(new URL('./mean.worker.ts', import.meta.url), { type: 'module', name: 'mean' })
  return { worker, remote: wrap<Meaner>(worker) }
}

/** Null after so many milliseconds. @throws the signal's reason when aborted */
function within<T>(work: Promise<T>, ms: number, signal: AbortSignal): Promise<T | null> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => done(null), ms)
    const abort = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const done = (result: T | null) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
      resolve(result)
    }
    signal.addEventListener('abort', abort, { once: true })
    work.then(done, (error: unknown) => {
      clearTimeout(timer)
      reject(error)
    })
  })
}

function readAgreed(): boolean {
  try {
    return localStorage.getItem(AGREED) === 'yes'
  } catch {
    return false
  }
}

function writeAgreed(on: boolean): void {
  try {
    if (on) localStorage.setItem(AGREED, 'yes')
    else localStorage.removeItem(AGREED)
  } catch {
    // Then it holds for this visit.
  }
}
