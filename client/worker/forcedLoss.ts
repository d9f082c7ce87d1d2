/** For tests: the page's end of forcedLoss.worker.ts. It reaches every such Worker that lives. */
import { type MakeWorker, startEngine } from './engineClient.ts'

export const FORCED_LOSS = 'forced-loss'

/** `lose` destroys the GPU device; `refuse` gives it work that is invalid. On another backend neither does anything. */
export type Force = 'lose' | 'refuse'

export function force(what: Force): void {
  const channel = new BroadcastChannel(FORCED_LOSS)
  channel.postMessage(what)
  channel.close()
}

const makeWorker: MakeWorker = () =>
  new Worker(new URL('./forcedLoss.worker.ts', import.meta.url), { type: 'module' })

/** startEngine, in a Worker that `force` reaches. */
export const startLosable: typeof startEngine = (backend, config, signal, _makeWorker, news) =>
  startEngine(backend, config, signal, makeWorker, news)
