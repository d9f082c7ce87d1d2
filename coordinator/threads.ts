/** One thread for heavy work, kept for the process's life: what it has loaded stays loaded. */
import { Piscina } from 'piscina'

/** `entry` is a thread.js, which loads the TypeScript it needs; this process's own flags stay out of the thread. */
export function startThread(entry: URL): Piscina {
  return new Piscina({
    filename: entry.href,
    execArgv: [],
    maxThreads: 1,
    idleTimeout: Number.POSITIVE_INFINITY,
  })
}
