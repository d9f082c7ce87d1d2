/** The real clock. Long waits are cut up, because setTimeout holds at most 2^31 − 1 milliseconds. */
import type { Clock } from './rounds/driver.ts'

const LONGEST = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  at(time, callback) {
    let timer: NodeJS.Timeout
    const wait = () => {
      const left = Math.max(0, time - Date.now())
      timer = left > LONGEST ? setTimeout(wait, LONGEST) : setTimeout(callback, left)
    }
    wait()
    return () => clearTimeout(timer)
  },
}
