/** When the next inner step may begin: turns of the event loop, pause, stop, and the time that counts. */

export interface Pace {
  pause(): void
  resume(): void
  stop(): void
  /** Begins a job: clears an earlier stop (a pause stays) and starts the watch. */
  begin(): void
  /** Waits for a turn and for the end of a pause; false when the job is to end. */
  next(): Promise<boolean>
  /** Seconds since `begin`, pauses not counted. */
  seconds(): number
  end(): void
}

export function makePace(): Pace {
  let paused = false
  let stopped = false
  let wake = () => {}
  let turns = makeTurns()
  let startedAt = 0
  let pausedFor = 0
  return {
    pause() {
      paused = true
    },
    resume() {
      paused = false
      wake()
    },
    stop() {
      stopped = true
      wake()
    },
    begin() {
      stopped = false
      turns.close()
      turns = makeTurns()
      startedAt = performance.now()
      pausedFor = 0
    },
    async next() {
      await turns.next()
      const since = performance.now()
      while (paused && !stopped) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        if (!paused || stopped) pausedFor += performance.now() - since
      }
      return !stopped
    },
    seconds: () => (performance.now() - startedAt - pausedFor) / 1_000,
    end: () => turns.close(),
  }
}

/**
 * A turn of the event loop through a message to oneself: lets other messages in, and unlike a timer is not
 * slowed down in a hidden tab. An open port keeps Node alive, so it is closed when the job ends.
 */
function makeTurns() {
  let channel: MessageChannel | null = null
  return {
    next: () =>
      new Promise<void>((resolve) => {
        channel ??= new MessageChannel()
        channel.port1.onmessage = () => resolve()
        channel.port2.postMessage(null)
      }),
    close() {
      channel?.port1.close()
      channel = null
    },
  }
}
