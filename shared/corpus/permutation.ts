/** Seeded shuffles: the same order in every browser and in Node. */
import { randomFrom } from '../model/random.ts'

/** The numbers 0 to `count` - 1 in an order that `seed` decides (Fisher-Yates; Knuth 3.4.2, algorithm P). */
export function permutation(count: number, seed: string): Uint32Array<ArrayBuffer> {
  const random = randomFrom(seed)
  const order = Uint32Array.from({ length: count }, (_, index) => index)
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const moved = order[other] as number // 0 <= other <= last < count
    order[other] = order[last] as number
    order[last] = moved
  }
  return order
}
