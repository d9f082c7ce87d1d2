/** This browser in a few words for the operator's list, e.g. `Chrome 156, Linux`. Nothing that identifies a person. */
import { LIMITS } from '../../shared/protocol/limits.ts'

const BROWSERS: [RegExp, string][] = [
  [/Edg\/(\d+)/, 'Edge'],
  [/Firefox\/(\d+)/, 'Firefox'],
  [/Chrome\/(\d+)/, 'Chrome'],
  [/Version\/(\d+).*Safari/, 'Safari'],
]
const SYSTEMS: [RegExp, string][] = [
  [/Android/, 'Android'],
  [/iPhone|iPad/, 'iOS'],
  [/Windows/, 'Windows'],
  [/Mac OS X/, 'macOS'],
  [/CrOS/, 'ChromeOS'],
  [/Linux/, 'Linux'],
]

export function describeDevice(userAgent: string): string {
  const browser = BROWSERS.map(([pattern, name]) => {
    const version = userAgent.match(pattern)?.[1]
    return version === undefined ? null : `${name} ${version}`
  }).find((found) => found !== null)
  const system = SYSTEMS.find(([pattern]) => pattern.test(userAgent))?.[1]
  return `${browser ?? 'Unknown browser'}, ${system ?? 'unknown system'}`.slice(0, LIMITS.deviceCharacters)
}
