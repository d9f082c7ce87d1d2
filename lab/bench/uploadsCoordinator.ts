/**
 * A coordinator in a process of its own, for uploads.ts: it measures its own memory and event loop, and answers its
 * parent. `node --import tsx lab/bench/uploadsCoordinator.ts <folder>`, with an IPC channel.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { readConfig } from '../../coordinator/config.ts'
import { startCoordinator } from '../../coordinator/coordinator.ts'

/** The first thing the child says. */
export interface Opened {
  readonly url: string
  readonly setupToken: string | null
}

/** What it says at its end. Bytes and milliseconds. */
export interface Observed {
  readonly rssBefore: number
  /** Aggregation threads included: they are threads of this process. */
  readonly rssPeak: number
  /** As perf_hooks gives it: the time between two looks, so an idle loop has `intervalMs`. */
  readonly delay: { readonly p50: number; readonly p99: number; readonly max: number }
  readonly intervalMs: number
  readonly cpuSeconds: number
}

const INTERVAL_MS = 10
/** Asking for it takes a third of a millisecond. */
const RSS_INTERVAL_MS = 100

/** Looks until the answer is called. */
export function observe(): () => Observed {
  const rssBefore = process.memoryUsage.rss()
  const [highest, cpu] = [process.resourceUsage().maxRSS, process.cpuUsage()]
  let rssPeak = rssBefore
  const looking = setInterval(() => {
    rssPeak = Math.max(rssPeak, process.memoryUsage.rss())
  }, RSS_INTERVAL_MS)
  const delays = monitorEventLoopDelay({ resolution: INTERVAL_MS })
  delays.enable()
  return () => {
    delays.disable()
    clearInterval(looking)
    const { maxRSS } = process.resourceUsage()
    const { user, system } = process.cpuUsage(cpu)
    return {
      rssBefore,
      rssPeak: maxRSS > highest ? maxRSS * 1024 : rssPeak, // the kernel's own figure, when it is of this time
      delay: {
        p50: delays.percentile(50) / 1e6,
        p99: delays.percentile(99) / 1e6,
        max: delays.max / 1e6,
      },
      intervalMs: INTERVAL_MS,
      cpuSeconds: (user + system) / 1e6,
    }
  }
}

async function serve(folder: string): Promise<void> {
  const environment = { POTLUCK_DATA: folder, POTLUCK_PORT: '0', POTLUCK_LOG: 'error' }
  // The volunteers of this benchmark come from one address and say that a proxy saw them at many.
  const coordinator = await startCoordinator(readConfig({ ...environment, POTLUCK_TRUSTED_PROXIES: '1' }))
  let stopLooking = observe()
  process.on('message', (message) => {
    if (message === 'look') stopLooking = observe()
    if (message === 'tell') process.send?.(stopLooking())
    if (message === 'stop') void coordinator.stop().then(() => process.exit(0))
  })
  process.send?.({ url: coordinator.url, setupToken: coordinator.setupToken } satisfies Opened)
}

const [, script = '', folder] = process.argv
if (folder !== undefined && script.includes('uploadsCoordinator')) await serve(folder)
