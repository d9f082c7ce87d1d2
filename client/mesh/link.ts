/**
 * Messages of any size over a channel that may break and be replaced: rules T1 to T6. Knows nothing of WebRTC
 * (peerChannel.ts does) and nothing of what messages mean.
 */
import { ackFrame, dataFrame, openFrame, PAYLOAD_BYTES, readFrame } from './frames.ts'

/** What carries frames: in order, and each whole or not at all. */
export interface Channel {
  /** Resolves when there is room for more. */
  write(frame: Uint8Array<ArrayBuffer>): Promise<void>
  onFrame(listener: (frame: Uint8Array) => void): void
  onClose(listener: () => void): void
  close(): void
}

export interface Source {
  readonly bytes: number
  /** The bytes from `offset` on, `length` of them. */
  read(offset: number, length: number): Uint8Array | Promise<Uint8Array>
}

export interface Sink {
  /** Takes the next bytes; more come when it has. */
  write(bytes: Uint8Array<ArrayBuffer>): void | Promise<void>
  /** All have come. */
  end(): void
  /** No more will come. */
  fail(why: string): void
}

export interface LinkPorts {
  /** [T6] Where its bytes go, of which the header says how many; null: not wanted. */
  accept(header: unknown): { bytes: number; sink: Sink } | null
}

interface Outgoing {
  readonly number: number
  readonly header: unknown
  readonly source: Source
  opened: boolean
  next: number
  taken: number
  resolve(): void
  reject(why: Error): void
}

interface Incoming {
  readonly bytes: number
  readonly sink: Sink
  taken: number
  told: number
  /** Frames wait for the sink in turn. */
  work: Promise<void>
  over: boolean
}

export class LinkError extends Error {
  override readonly name = 'LinkError'
}

/** How far the sender may be ahead of what the receiver has taken, and how often the receiver tells. */
const WINDOW = 4 * 1024 * 1024
const TELL_EVERY = 512 * 1024
const MOST_INCOMING = 64

export class Link {
  readonly #ports: LinkPorts
  readonly #sending = new Map<number, Outgoing>()
  readonly #receiving = new Map<number, Incoming>()
  /** What came whole, so that its sender hears of it when the channel broke in between. */
  readonly #whole = new Map<number, number>()
  #channel: Channel | null = null
  #numbers = 0
  #pumping = false
  /** Something changed that may let it go on. */
  #again = false
  #closed: LinkError | null = null
  /** Payload bytes sent and received, lost ones too. */
  sent = 0
  received = 0

  constructor(ports: LinkPorts) {
    this.#ports = ports
  }

  get open(): boolean {
    return this.#channel !== null
  }

  /** [T5] The channel from now on. */
  attach(channel: Channel): void {
    if (this.#closed) {
      channel.close()
      return
    }
    this.#channel = channel
    for (const message of this.#sending.values()) message.opened = false
    channel.onFrame((bytes) => {
      if (this.#channel === channel) this.#take(bytes)
    })
    channel.onClose(() => {
      if (this.#channel === channel) this.#channel = null
    })
    this.#pump()
  }

  /** Resolves when the other end has taken all of it. @throws LinkError */
  send(header: unknown, source: Source): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed)
      const number = ++this.#numbers
      const state = { opened: false, next: 0, taken: 0 }
      this.#sending.set(number, { number, header, source, ...state, resolve, reject })
      this.#pump()
    })
  }

  /** [T5] */
  close(why: string): void {
    if (this.#closed) return
    const error = new LinkError(why)
    this.#closed = error
    this.#channel?.close()
    this.#channel = null
    for (const message of this.#sending.values()) message.reject(error)
    for (const message of this.#receiving.values()) {
      message.over = true
      message.sink.fail(why)
    }
    this.#sending.clear()
    this.#receiving.clear()
  }

  #pump(): void {
    this.#again = true
    if (this.#pumping) return
    this.#pumping = true
    void this.#sendWhileThereIs()
  }

  /** Never rejects. */
  async #sendWhileThereIs(): Promise<void> {
    while (this.#again) {
      this.#again = false
      await this.#sendAll()
    }
    this.#pumping = false
  }

  /** [T2] [T3] */
  async #sendAll(): Promise<void> {
    for (let sent = true; sent; ) {
      sent = false
      for (const message of [...this.#sending.values()]) {
        const channel = this.#channel
        if (channel === null) return
        sent = (await this.#sendSome(message, channel)) || sent
      }
    }
  }

  async #sendSome(message: Outgoing, channel: Channel): Promise<boolean> {
    const { number, header, source } = message
    try {
      if (!message.opened) {
        message.opened = true
        message.next = message.taken
        await channel.write(openFrame(number, header))
        return true
      }
      const length = Math.min(PAYLOAD_BYTES, source.bytes - message.next)
      if (length === 0 || message.next - message.taken >= WINDOW) return false
      const offset = message.next
      message.next += length
      const payload = await source.read(offset, length)
      if (this.#channel !== channel) return true // its successor begins where the receiver is
      this.sent += length
      await channel.write(dataFrame(number, offset, payload))
      return true
    } catch (error) {
      if (this.#channel !== channel) return false // it broke; the next one goes on
      this.#sending.delete(number)
      message.reject(error instanceof Error ? error : new LinkError(String(error)))
      return true
    }
  }

  #take(bytes: Uint8Array): void {
    const frame = readFrame(bytes)
    switch (frame?.kind) {
      case 'open':
        this.#opened(frame.message, frame.header)
        return
      case 'data':
        this.#data(frame.message, frame.offset, frame.sound, frame.payload)
        return
      case 'ack':
        this.#acknowledged(frame.message, frame.state, frame.taken)
        return
      default:
        this.#channel?.close() // T6
    }
  }

  #opened(number: number, header: unknown): void {
    const known = this.#receiving.get(number)
    const whole = this.#whole.get(number)
    if (whole !== undefined) this.#tell(number, 'whole', whole)
    else if (known)
      this.#tell(number, 'damaged', known.taken) // go on from here
    else this.#begin(number, this.#receiving.size < MOST_INCOMING ? this.#ports.accept(header) : null)
  }

  #begin(number: number, wanted: ReturnType<LinkPorts['accept']>): void {
    if (wanted === null) {
      this.#tell(number, 'unwanted', 0)
      return
    }
    const message = { ...wanted, taken: 0, told: 0, work: Promise.resolve(), over: false }
    this.#receiving.set(number, message)
    if (message.bytes === 0) this.#end(number, message)
  }

  #data(number: number, offset: number, sound: boolean, payload: Uint8Array<ArrayBuffer>): void {
    this.received += payload.length
    if (!sound) {
      this.#damaged()
      return
    }
    const message = this.#receiving.get(number)
    if (!message) {
      if (!this.#whole.has(number)) this.#tell(number, 'unwanted', 0) // its opening was damaged, or it has failed
      return
    }
    message.work = message.work.then(async () => {
      if (message.over) return
      if (offset !== message.taken || offset + payload.length > message.bytes) return // after damage, or twice
      const { length } = payload // the sink may give the bytes away
      await message.sink.write(payload)
      message.taken += length
      if (message.taken === message.bytes) this.#end(number, message)
      else if (message.taken - message.told >= TELL_EVERY) {
        message.told = message.taken
        this.#tell(number, 'going-on', message.taken)
      }
    })
    message.work.catch((error: unknown) => {
      if (message.over) return
      message.over = true
      this.#receiving.delete(number)
      message.sink.fail(String(error))
      this.#tell(number, 'unwanted', message.taken)
    })
  }

  /** [T4] Of some message: each that is coming goes on from where it is. */
  #damaged(): void {
    for (const [number, message] of this.#receiving) {
      const tell = () => {
        if (!message.over) this.#tell(number, 'damaged', message.taken)
      }
      message.work = message.work.then(tell, tell)
    }
  }

  #end(number: number, message: Incoming): void {
    message.over = true
    this.#receiving.delete(number)
    this.#whole.set(number, message.bytes)
    const [oldest] = this.#whole.keys()
    if (this.#whole.size > 4 * MOST_INCOMING && oldest !== undefined) this.#whole.delete(oldest)
    message.sink.end()
    this.#tell(number, 'whole', message.bytes)
  }

  #acknowledged(number: number, state: string, taken: number): void {
    const message = this.#sending.get(number)
    if (!message || taken > message.source.bytes) return
    message.taken = Math.max(message.taken, taken)
    if (state === 'damaged') message.next = message.taken
    if (state === 'whole' || state === 'unwanted') {
      this.#sending.delete(number)
      if (state === 'whole') message.resolve()
      else message.reject(new LinkError('The other tab does not want it.'))
    }
    this.#pump()
  }

  #tell(number: number, state: 'going-on' | 'whole' | 'unwanted' | 'damaged', taken: number): void {
    void this.#channel?.write(ackFrame(number, state, taken)).catch(() => undefined) // a broken channel is replaced
  }
}

/** Bytes in memory. */
export const sourceOf = (bytes: Uint8Array): Source => ({
  bytes: bytes.length,
  read: (offset, length) => bytes.subarray(offset, offset + length),
})

/** Collects so many bytes; resolves when they are whole. */
export function collector(bytes: number): { sink: Sink; whole: Promise<Uint8Array<ArrayBuffer>> } {
  const all = new Uint8Array(bytes)
  let taken = 0
  let resolve: (all: Uint8Array<ArrayBuffer>) => void
  let reject: (why: Error) => void
  const whole = new Promise<Uint8Array<ArrayBuffer>>((ok, no) => {
    resolve = ok
    reject = no
  })
  whole.catch(() => undefined) // whoever waits hears of it
  const sink: Sink = {
    write(piece) {
      all.set(piece, taken)
      taken += piece.length
    },
    end: () => resolve(all),
    fail: (why) => reject(new LinkError(why)),
  }
  return { sink, whole }
}
