/** The process itself: memory, processor time, and how late its event loop is. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, type Registry } from 'prom-client'

const RESOLUTION_MS = 10
const NANOSECONDS = 1e9

/** The answer stops measuring. */
export function openHostMetrics(registry: Registry): () => void {
  memory(registry)
  processor(registry)
  return eventLoop(registry)
}

function eventLoop(registry: Registry): () => void {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delays.enable()
  // Node records the time between two timers; what is more than was asked for is delay.
  const seconds = (nanoseconds: number) => Math.max(0, nanoseconds / NANOSECONDS - RESOLUTION_MS / 1_000)
  new Gauge({
    name: 'potluck_event_loop_delay_seconds',
    help: 'How late the coordinator got to things that were due, since the last scrape: median, 99th percentile and worst. Everybody waits meanwhile, so more than a tenth of a second is felt.',
    labelNames: ['stat'],
    registers: [registry],
    collect() {
      this.set({ stat: 'p50' }, seconds(delays.percentile(50)))
      this.set({ stat: 'p99' }, seconds(delays.percentile(99)))
      this.set({ stat: 'max' }, seconds(delays.max))
      delays.reset()
    },
  })
  return () => void delays.disable()
}

function memory(registry: Registry): void {
  new Gauge({
    name: 'potluck_process_memory_bytes',
    help: 'Memory of the coordinator: all that it holds (resident); and within that, JavaScript objects (heap) and buffers (external).',
    labelNames: ['kind'],
    registers: [registry],
    collect() {
      const { rss, heapUsed, external } = process.memoryUsage()
      this.set({ kind: 'resident' }, rss)
      this.set({ kind: 'heap' }, heapUsed)
      this.set({ kind: 'external' }, external)
    },
  })
}

function processor(registry: Registry): void {
  new Counter({
    name: 'potluck_process_cpu_seconds_total',
    help: 'Processor time that the coordinator has used, its worker threads included.',
    registers: [registry],
    collect() {
      const { user, system } = process.cpuUsage()
      this.reset()
      this.inc((user + system) / 1e6)
    },
  })
  new Gauge({
    name: 'potluck_process_start_time_seconds',
    help: 'When the coordinator was started, Unix time.',
    registers: [registry],
  }).set(Date.now() / 1_000 - process.uptime())
}
