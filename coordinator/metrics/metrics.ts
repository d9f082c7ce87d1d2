/**
 * The coordinator in numbers, for Prometheus. counters.ts listens to Runs, gauges.ts asks it, host.ts looks at the
 * process. Labels come from fixed lists; nothing here names a volunteer, a lease or a run.
 */
import { Registry } from 'prom-client'
import type { RunsObserver } from '../runs/observer.ts'
import type { Runs } from '../runs/runs.ts'
import { openCounters } from './counters.ts'
import { openGauges } from './gauges.ts'
import { openHostMetrics } from './host.ts'

export interface Metrics {
  readonly observer: RunsObserver
  /** From now on the gauges show these runs. Once. */
  show(runs: Runs): void
  readonly contentType: string
  /** In Prometheus' text format. */
  text(): Promise<string>
  close(): void
}

export function openMetrics(): Metrics {
  const registry = new Registry()
  const stopMeasuring = openHostMetrics(registry)
  return {
    observer: openCounters(registry),
    show: (runs) => openGauges(registry, runs),
    contentType: registry.contentType,
    text: () => registry.metrics(),
    close: stopMeasuring,
  }
}
