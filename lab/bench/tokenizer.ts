/**
 * `npm run bench -- tokenizer [--file <.jsonl or .jsonl.gz with a field text>]`: how fast text becomes ids on one thread,
 * beside gpt-tokenizer in the same process, the two in turn. Without a file the text is the embedded corpus.
 */
import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { encode as gptEncode } from 'gpt-tokenizer/encoding/gpt2'
import { z } from 'zod'
import { readStateOfTheUnion } from '../../coordinator/corpus/sotu.ts'
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts'
import { trainTokenizer } from '../../shared/tokenizer/train.ts'

const REPETITIONS = 5
const VOCAB = 32_768
const LEARNED = 32_001

interface Row {
  readonly tokenizer: string
  readonly vocabulary: number
  readonly tokens: number
  readonly bytesPerToken: number
  /** Million tokens a second, the median: with the cache empty, and with the same text seen before. */
  readonly cold: number
  readonly warm: number
}

export async function measureTokenizer(flags: string[]) {
  const { values } = parseArgs({ args: flags, options: { file: { type: 'string' } } })
  const texts =
    values.file === undefined
      ? (await readStateOfTheUnion()).map(({ text }) => text)
      : await read(values.file)
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
  const trainingBegan = performance.now()
  const { merges } = trainTokenizer(texts, LEARNED)
  const trainingSeconds = (performance.now() - trainingBegan) / 1_000
  const ours: Times = { cold: [], warm: [], tokens: 0 }
  const theirs: Times = { cold: [], warm: [], tokens: 0 }
  for (let repetition = 0; repetition < REPETITIONS; repetition++) {
    const fresh = new Tokenizer(merges, VOCAB)
    for (const kind of ['cold', 'warm'] as const) {
      time(ours, kind, () => sum(texts, (text) => fresh.encode(text).length))
      time(theirs, kind, () => sum(texts, (text) => gptEncode(text, { disallowedSpecial: new Set() }).length))
    }
  }
  theirs.cold = theirs.cold.slice(0, 1) // its cache lives as long as the process
  const rows = [rowOf('Potluck', VOCAB, ours, bytes), rowOf('gpt-tokenizer (GPT-2)', 50_257, theirs, bytes)]
  return { rows, training: [{ megabytes: round(bytes / 1e6), seconds: round(trainingSeconds) }] }
}

interface Times {
  cold: number[]
  warm: number[]
  tokens: number
}

function time(times: Times, kind: 'cold' | 'warm', encode: () => number): void {
  const began = performance.now()
  times.tokens = encode()
  times[kind].push((performance.now() - began) / 1_000)
}

const rowOf = (tokenizer: string, vocabulary: number, { cold, warm, tokens }: Times, bytes: number): Row => ({
  ...{ tokenizer, vocabulary, tokens, bytesPerToken: round(bytes / tokens) },
  cold: round(tokens / median(cold) / 1e6),
  warm: round(tokens / median(warm) / 1e6),
})

async function read(file: string): Promise<string[]> {
  const bytes = await readFile(file)
  const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
  const line = z.object({ text: z.string() })
  return text.split('\n').flatMap((row) => (row.trim() === '' ? [] : line.parse(JSON.parse(row)).text))
}

const sum = (texts: readonly string[], of: (text: string) => number) =>
  texts.reduce((all, text) => all + of(text), 0)
const median = (times: readonly number[]) => [...times].sort((a, b) => a - b)[times.length >> 1] as number // one at least
const round = (value: number) => Number(value.toFixed(2))
