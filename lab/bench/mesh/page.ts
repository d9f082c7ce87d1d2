/** A volunteer without an engine: made-up contributions of the right size go the real way, and weights come back. */
import { Mesh } from '../../../client/mesh/mesh.ts'
import { GlobalWeights } from '../../../client/storage/weights.ts'
import { Connection } from '../../../client/swarm/connection.ts'
import { sendContribution } from '../../../client/swarm/upload.ts'
import { CODECS } from '../../../shared/codec/codec.ts'
import { withNews } from '../../../shared/protocol/news.ts'
import type { Lease, RunView } from '../../../shared/protocol/run.ts'
import { Line } from './line.ts'

export interface RoundTimes {
  readonly sent: number
  /** Unix milliseconds: the contribution was ready, and the new weights are here. */
  readonly from: number
  readonly to: number
  readonly together: boolean
  /** Bytes a second to the other tabs, all channels together. */
  readonly channel: number | null
}

export interface BenchTab {
  start(together: boolean): Promise<void>
  linked(): boolean
  /** Weights of the round under way; the first time the whole snapshot. */
  fetch(): Promise<void>
  line(speed: Line['speed']): void
  round(): Promise<RoundTimes>
}

const signal = new AbortController().signal
const line = new Line()
window.fetch = line.fetch
let run: RunView | null = null
let wake: () => void = () => undefined
let welcomed: () => void = () => undefined
const here = new Promise<void>((resolve) => {
  welcomed = resolve
})

const connection = new Connection({
  welcome(message) {
    run = message.run
    welcomed()
    if (started) void join()
  },
  run(view) {
    run = view
    wake()
  },
  news(news) {
    if (run !== null) run = withNews(run, news)
    wake()
  },
  called: () => wake(),
  lost: () => console.error('The connection was lost.'),
  refused: ({ message }) => console.error(message),
  removed: (reason) => console.error(reason),
})
const mesh = new Mesh({
  mesh: (on) => connection.mesh(on),
  signal: (...told) => connection.signal(...told),
  linked: (...told) => connection.linked(...told),
  offer: (offer) => connection.offer(offer),
  held: (...told) => connection.held(...told),
  quit: (...told) => connection.quit(...told),
  token: () => connection.token,
  changed: () => undefined,
  log: (text) => console.log(text),
  through: line.through,
  transport: line.transport,
})
connection.meet(mesh)
const weights = new GlobalWeights({ together: (hash, bytes, abort) => mesh.fetch(hash, bytes, abort) })

let started = false

async function join(): Promise<void> {
  await connection.join({ backend: 'wasm', tokensPerSecond: 1_000, device: 'benchmark' })
  mesh.announce()
}

async function until<T>(look: () => T | null | false): Promise<T> {
  for (;;) {
    const found = look()
    if (found !== null && found !== false) return found
    await new Promise<void>((resolve) => {
      wake = resolve
      setTimeout(resolve, 200)
    })
  }
}

async function lease(): Promise<Lease> {
  for (;;) {
    const answer = await connection.lease({ run: run?.id ?? '', after: null, tokensPerSecond: 1_000 })
    if ('lease' in answer) return answer.lease
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function fetchWeights(view: RunView): Promise<void> {
  const fragment = view.weights?.[0]
  if (fragment) await weights.fragment(0, fragment, view.parameters, signal)
}

/** As many bytes as a contribution has, every value within what one step can do. */
function madeUp(parameters: number, codec: Lease['codec']): Uint8Array<ArrayBuffer> {
  const { encode, byteLength } = CODECS[codec]
  const block = 256 * 256
  const pattern = encode(Float32Array.from({ length: block }, () => (Math.random() - 0.5) * 2e-6))
  const all = new Uint8Array(byteLength(parameters))
  for (let at = 0; at < all.length; at += pattern.length) all.set(pattern.subarray(0, all.length - at), at)
  return all
}

let contribution: Uint8Array<ArrayBuffer> | null = null

const tab: BenchTab = {
  async start(together) {
    await here
    mesh.expectBlobsOf(4 * (run?.parameters ?? 0))
    mesh.agree(together)
    started = true
    await join()
  },
  linked: () => mesh.state.group !== null && mesh.state.group.linked === mesh.state.group.size,
  fetch: () => (run === null ? Promise.reject(new Error('There is no run.')) : fetchWeights(run)),
  line(speed) {
    line.speed = speed
  },
  async round() {
    const work = await lease()
    const parameters = run?.parameters ?? 0
    contribution ??= madeUp(parameters, work.codec)
    const bytes = contribution
    const from = Date.now()
    const offered = { lease: work.id, bytes, parameters, codec: work.codec, steps: work.steps, loss: 5 }
    const together = await mesh.deliver({ ...offered, deadlineAt: work.deadlineAt }, signal)
    const { id, steps } = { ...work }
    const receipt =
      together ??
      (await sendContribution(
        { lease: id, bytes, steps, loss: 5 },
        connection.token,
        signal,
        () => undefined,
        line.transport,
      ))
    if (receipt.result === 'rejected') throw new Error(receipt.message)
    const sent = Date.now()
    const view = await until(() => run !== null && run.round > work.round && run)
    await fetchWeights(view)
    return { sent, from, to: Date.now(), together: together !== null, channel: mesh.bytesPerSecond }
  },
}
Object.assign(window, { benchTab: tab })
