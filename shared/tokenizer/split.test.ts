import fc from 'fast-check'
import { expect, test } from 'vitest'
import { words } from './split.ts'

/** GPT-2's own pattern, with white space as Rust and Oniguruma mean it. */
const PATTERN =
  /'(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu

test('words are what GPT-2’s pattern finds, in any text', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 30 }),
    fc.string({
      unit: fc.constantFrom(...`'strevldm 0aZ9é日٣½\n\t\r\u001c\u0085\u00a0\ufeff\u3000😀.,!`),
      maxLength: 40,
    }),
  )
  fc.assert(
    fc.property(text, (text) => {
      expect(words(text)).toEqual(text.match(PATTERN) ?? [])
    }),
    { numRuns: 3_000 },
  )
})
