/** Files in memory for the readers' tests, handed out in pieces of a chosen length. */
import type { Item, Source } from './item.ts'

export function memorySource(name: string, bytes: Uint8Array, piece = 7): Source {
  return {
    name,
    size: bytes.length,
    async *stream() {
      for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece)
    },
    slice: async (start, end) => Uint8Array.from(bytes.subarray(start, end)).buffer,
  }
}

export async function all(batches: AsyncIterable<Item[]>): Promise<Item[]> {
  const items: Item[] = []
  for await (const batch of batches) items.push(...batch)
  return items
}

/** Texts as they are, tokens joined by commas, and broken ones as their place and reason. */
export const shown = (items: readonly Item[]): string[] =>
  items.map((item) =>
    item.kind === 'text' ? item.text : item.kind === 'ids' ? item.ids.join() : `${item.place}: ${item.why}`,
  )
