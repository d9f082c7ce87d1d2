/** Calls at once, then at most once an interval in milliseconds; the last call is never lost. */
export function throttle(
  call: () => void,
  interval: () => number,
): { (): void; now(): void; cancel(): void } {
  let timer: NodeJS.Timeout | null = null
  let again = false
  const fire = () => {
    again = false
    timer = setTimeout(() => {
      timer = null
      if (again) fire()
    }, interval())
    call()
  }
  const cancel = () => {
    if (timer) clearTimeout(timer)
    timer = null
    again = false
  }
  const throttled = () => {
    if (timer) again = true
    else fire()
  }
  const now = () => {
    cancel()
    fire()
  }
  return Object.assign(throttled, { now, cancel })
}
