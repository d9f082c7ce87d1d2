/** A line of progress with the time that is left, on stderr: in place on a terminal, now and then in a log. */

export interface Progress {
  /** @param total 0 when it is not known. */
  show(what: string, done: number, total: number): void
  /** The work under way is done; the next begins. */
  end(): void
}

export const SILENT: Progress = { show: () => undefined, end: () => undefined }

const WIDTH = 24
const INTERVAL_MS = { terminal: 200, log: 10_000 }

export function progressTo(
  stream: { write(text: string): unknown; readonly isTTY?: boolean },
  now: () => number = () => performance.now(),
): Progress {
  const terminal = stream.isTTY === true
  let work = ''
  let began = 0
  let before = 0
  let shown = Number.NEGATIVE_INFINITY
  return {
    show(what, done, total) {
      const at = now()
      if (what !== work) [work, began, before, shown] = [what, at, done, Number.NEGATIVE_INFINITY]
      if (at - shown < (terminal ? INTERVAL_MS.terminal : INTERVAL_MS.log)) return
      shown = at
      const line = lineOf({ what, done, total, seconds: (at - began) / 1_000, made: done - before })
      stream.write(terminal ? `\r${line}\u001b[K` : `${line}\n`)
    },
    end() {
      if (terminal && work !== '') stream.write('\n')
      work = ''
    },
  }
}

interface Standing {
  readonly what: string
  readonly done: number
  readonly total: number
  readonly seconds: number
  /** Since it began to be shown. */
  readonly made: number
}

export function lineOf({ what, done, total, seconds, made }: Standing): string {
  const rate = seconds > 0 ? made / seconds : 0
  const speed = rate > 0 ? `, ${megabytes(rate)}/s` : ''
  if (total <= 0) return `${what}: ${megabytes(done)}${speed}`
  const share = Math.min(1, done / total)
  const bar = '#'.repeat(Math.round(WIDTH * share)).padEnd(WIDTH, '.')
  const left = rate > 0 && made > 0 ? `, ${duration((total - done) / rate)} left` : ''
  return `${what} [${bar}] ${Math.floor(100 * share)} % of ${megabytes(total)}${speed}${left}`
}

const megabytes = (bytes: number): string =>
  bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(1)} MB`

function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)]
  if (hours > 0) return `${hours} h ${minutes} min`
  return minutes > 0 ? `${minutes} min ${whole % 60} s` : `${whole} s`
}
