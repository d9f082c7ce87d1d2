/**
 * This tab's part in one exchange: sends its slices to their reducers, holds the others' slices that it reduces, takes
 * their mean when the set is known, and sends what the coordinator asks for. Rules X1 to X6 of coordinator/mesh/RULES.md.
 */
import type { CodecName } from '../../shared/codec/codec.ts'
import { type Slice, slicesOf, type Weighed } from '../../shared/mesh/slices.ts'
import type { ExchangeMessage, ExchangePiece, PeerHeader, ReduceMessage } from '../../shared/protocol/mesh.ts'
import type { Receipt } from '../../shared/protocol/run.ts'
import { sha256 } from '../storage/sha256.ts'
import type { MeshGroup } from './group.ts'
import { collector, type LinkPorts, sourceOf } from './link.ts'
import { Pace } from './pace.ts'

export interface Offered {
  readonly lease: string
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Values that the bytes stand for. */
  readonly parameters: number
  readonly codec: CodecName
}

export interface ExchangePorts {
  held(from: readonly number[]): void
  quit(why: string): void
  mean(codec: CodecName, count: number, members: readonly Weighed[]): Promise<Uint8Array<ArrayBuffer>>
  /** Whether it holds numbers. */
  isSlice(codec: CodecName, count: number, bytes: Uint8Array<ArrayBuffer>): Promise<boolean>
  upload(piece: ExchangePiece, bytes: Uint8Array<ArrayBuffer>): Promise<void>
}

/** An earlier exchange's may still be on its way, or came damaged; more is a flood. */
const MOST_OF_A_SLICE = 3

export class TabExchange {
  readonly #group: Pick<MeshGroup, 'message' | 'link'>
  readonly #offered: Offered
  readonly #ports: ExchangePorts
  readonly #slices: readonly Slice[]
  /** By nameOf. What came first stays: who has told that it holds a slice must not get another for it. */
  readonly #came = new Map<string, Uint8Array<ArrayBuffer>>()
  readonly #sound = new Set<string>()
  readonly #coming = new Set<string>()
  /** By member: messages that were taken. */
  readonly #taken = new Map<number, number>()
  #message: ExchangeMessage | null = null
  #told = ''
  #looked: Promise<void> = Promise.resolve()
  /** Of the last set that the coordinator told. */
  #attempt = 0
  readonly #pace = new Pace()
  #settle: (receipt: Receipt | null) => void = () => undefined
  /** Resolves when the coordinator has said how it ended, or this tab has given up: null, then send directly. */
  readonly settled: Promise<Receipt | null>

  constructor(group: Pick<MeshGroup, 'message' | 'link'>, offered: Offered, ports: ExchangePorts) {
    this.#group = group
    this.#offered = offered
    this.#ports = ports
    this.#slices = slicesOf(offered.parameters, group.message.size, offered.codec)
    this.settled = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  /** [X1] The hashes that it commits to. */
  async commitments(): Promise<{ sha256: string; slices: string[] }> {
    const { bytes } = this.#offered
    const slices = await Promise.all(this.#slices.map((slice) => sha256(cut(bytes, slice))))
    return { sha256: await sha256(bytes), slices }
  }

  /** A slice from another tab, which may come before the coordinator's word. Null: not one of ours. */
  accept(
    from: number,
    { exchange, slice, bytes }: Extract<PeerHeader, { kind: 'slice' }>,
  ): ReturnType<LinkPorts['accept']> {
    const name = nameOf(exchange, slice, from)
    const known = this.#message
    if (this.#slices[slice]?.bytes !== bytes || this.#came.has(name) || this.#coming.has(name)) return null
    if (known && (known.exchange !== exchange || known.reducers[slice] !== this.#me)) return null
    const taken = this.#taken.get(from) ?? 0
    if (taken >= MOST_OF_A_SLICE * this.#slices.length) return null
    this.#taken.set(from, taken + 1)
    this.#coming.add(name)
    const { sink, whole } = collector(bytes)
    whole
      .then(
        (got) => {
          this.#came.set(name, got)
          this.#lookAgain()
        },
        () => undefined, // the coordinator's time runs out
      )
      .finally(() => this.#coming.delete(name))
    return { bytes, sink }
  }

  /** [X2] */
  begin(message: ExchangeMessage): void {
    const { codec, parameters } = this.#offered
    const fits = message.codec === codec && message.parameters === parameters
    if (!fits || message.reducers.length !== this.#slices.length) {
      this.quit('The exchange is of something else.')
      return
    }
    this.#message = message
    for (const [slice, reducer] of message.reducers.entries()) {
      const bytes = cut(this.#offered.bytes, this.#slices[slice])
      if (reducer === this.#me) this.#came.set(nameOf(message.exchange, slice, this.#me), bytes)
      else if (bytes.length > 0) this.#run(this.#send(slice, reducer, bytes))
    }
    this.#lookAgain()
  }

  /** [X3] */
  reduce({ attempt, set }: ReduceMessage): void {
    if (attempt <= this.#attempt) return
    this.#attempt = attempt
    this.#run(this.#reduce(attempt, set))
  }

  /** [X3] [X6] */
  own(slice: number | null): void {
    const { bytes } = this.#offered
    const whole = { kind: 'whole', slice: 0, attempt: 0 } as const
    if (slice === null) this.#run(this.#ports.upload(whole, bytes))
    else this.#run(this.#ports.upload({ ...whole, kind: 'own', slice }, cut(bytes, this.#slices[slice])))
  }

  end(receipt: Receipt | null): void {
    this.#settle(receipt)
  }

  /** [X5] */
  quit(why: string): void {
    this.#ports.quit(why)
    this.#settle(null)
  }

  /** Bytes a second that this tab sent to the others; null when it sent nothing. */
  get bytesPerSecond(): number | null {
    return this.#pace.bytesPerSecond
  }

  get #me(): number {
    return this.#group.message.index
  }

  /** A fault of one's own is no reason to hold others up. */
  #run(work: Promise<void>): void {
    work.catch((error: unknown) => this.quit(String(error).slice(0, 200)))
  }

  async #send(slice: number, to: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const header: PeerHeader = {
      kind: 'slice',
      exchange: this.#message?.exchange ?? '',
      slice,
      bytes: bytes.length,
    }
    this.#pace.begin(performance.now())
    // Who does not want it, or is gone, is the coordinator's to judge.
    await this.#group
      .link(to)
      ?.send(header, sourceOf(bytes))
      .then(() => this.#pace.sent(bytes.length, performance.now()))
      .catch(() => undefined)
  }

  /** One look after another, so that every slice is checked once. */
  #lookAgain(): void {
    this.#looked = this.#looked.then(() => this.#look())
    this.#run(this.#looked)
  }

  /** [X2] Tells of whom it holds all that it reduces. */
  async #look(): Promise<void> {
    const message = this.#message
    if (message === null) return
    const { codec } = message
    const mine = this.#mine(message)
    for (const { index, slices } of message.members) {
      if (index === this.#me) continue
      for (const slice of mine) {
        const name = nameOf(message.exchange, slice, index)
        const bytes = this.#came.get(name)
        if (bytes === undefined || this.#sound.has(name)) continue
        if ((await sha256(bytes)) !== slices[slice]) {
          // As good as none: what was committed to may still come.
          if (this.#came.get(name) === bytes) this.#came.delete(name)
        } else if (await this.#ports.isSlice(codec, this.#slices[slice]?.count ?? 0, bytes)) {
          this.#sound.add(name)
        }
      }
    }
    const holds = (index: number) =>
      mine.every((slice) => this.#sound.has(nameOf(message.exchange, slice, index)))
    const held = message.members
      .map(({ index }) => index)
      .filter((index) => index === this.#me || holds(index))
    const told = held.join(' ')
    if (told === this.#told || mine.length === 0) return
    this.#told = told
    this.#ports.held(held)
  }

  #mine({ reducers }: ExchangeMessage): number[] {
    return reducers.flatMap((reducer, slice) =>
      reducer === this.#me && this.#slices[slice]?.bytes ? [slice] : [],
    )
  }

  async #reduce(attempt: number, set: ReduceMessage['set']): Promise<void> {
    const message = this.#message
    if (message === null) return
    const { codec } = message
    for (const slice of this.#mine(message)) {
      const members = set.flatMap(({ index, weight }) => {
        const bytes = this.#came.get(nameOf(message.exchange, slice, index))
        return bytes === undefined ? [] : [{ bytes, weight }]
      })
      if (members.length < set.length) continue // its members bring their own
      const mean = await this.#ports.mean(codec, this.#slices[slice]?.count ?? 0, members)
      if (attempt !== this.#attempt) return
      await this.#ports.upload({ kind: 'mean', slice, attempt }, mean).catch((error: unknown) => {
        if (attempt === this.#attempt) throw error // else nobody waits for it any more
      })
    }
  }
}

const nameOf = (exchange: string, slice: number, member: number): string => `${exchange} ${slice} ${member}`

const cut = (bytes: Uint8Array<ArrayBuffer>, slice: Slice | undefined): Uint8Array<ArrayBuffer> =>
  slice === undefined ? new Uint8Array(0) : bytes.subarray(slice.offset, slice.offset + slice.bytes)
