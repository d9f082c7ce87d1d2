/** Requests as sequences, and their likelihoods by a model whose probabilities are known. */
import { describe, expect, it } from 'vitest'
import { PRESETS } from '../model/config.ts'
import { trainTokenizer } from '../tokenizer/train.ts'
import { encodeRequest } from './encode.ts'
import { logLikelihoods, windowFor } from './likelihoods.ts'
import { added, NO_TALLY, scoreOf, tallyOf } from './score.ts'
import { type Example, requestsOf } from './tasks.ts'

const tokenizer = trainTokenizer(['the cat sat on the mat and the cat ate the rat'.repeat(4)], 270)
const text = (ids: Uint16Array) => tokenizer.decode([...ids])

describe('a request', () => {
  it('is encoded whole, and scored from where its context alone would end', () => {
    const { ids, scored } = encodeRequest(
      tokenizer,
      { context: 'the cat', continuation: ' sat on the mat' },
      64,
    )
    expect([...ids]).toEqual([...tokenizer.encode('the cat sat on the mat')])
    expect(scored).toBe(ids.length - tokenizer.encode('the cat').length)
    expect(text(ids.slice(-scored))).toBe(' sat on the mat')
  })

  it('has the white space at its context’s end in its continuation', () => {
    const moved = encodeRequest(tokenizer, { context: 'the cat ', continuation: 'sat' }, 64)
    expect(moved).toEqual(encodeRequest(tokenizer, { context: 'the cat', continuation: ' sat' }, 64))
  })

  it('with no context stands after the end of a text', () => {
    const { ids, scored } = encodeRequest(tokenizer, { context: '', continuation: 'the cat' }, 64)
    expect([...ids]).toEqual([tokenizer.endOfText, ...tokenizer.encode('the cat')])
    expect(scored).toBe(ids.length - 1)
  })

  it('that is too long loses its beginning', () => {
    const request = { context: 'the cat sat on the mat', continuation: ' and the rat' }
    const whole = encodeRequest(tokenizer, request, 64)
    const { ids, scored } = encodeRequest(tokenizer, request, 6)
    expect([...ids]).toEqual([...whole.ids.slice(-7)])
    expect(scored).toBe(Math.min(whole.scored, 6))
    expect(encodeRequest(tokenizer, request, 1)).toMatchObject({ scored: 1, ids: { length: 2 } })
  })

  it('has a window that holds it', () => {
    const of = (...lengths: number[]) => lengths.map((n) => ({ ids: new Uint16Array(n), scored: 1 }))
    const limits = { shortest: 16, longest: 100 }
    expect(windowFor(of(3, 9), limits)).toBe(16)
    expect(windowFor(of(17), limits)).toBe(16)
    expect(windowFor(of(18), limits)).toBe(32)
    expect(windowFor(of(80), limits)).toBe(100)
  })
})

const EXAMPLES: Example[] = ['mat', 'rat', 'cat'].map((word, gold) => ({
  context: `the ${word} is`,
  choices: ['on the mat', 'a rat with a long tail', 'the cat'],
  gold,
}))

/** Loses `loss(id before, id)` nats at every token. */
const model = (loss: (before: readonly number[], id: number) => number) => ({
  config: { ...PRESETS.nano, sequenceLength: 32 },
  async tokenLosses(sequences: Uint16Array) {
    const rows = Array.from({ length: sequences.length / 33 }, (_, i) => [
      ...sequences.subarray(i * 33, (i + 1) * 33),
    ])
    return Float32Array.from(
      rows.flatMap((row) => row.slice(1).map((id, i) => loss(row.slice(0, i + 1), id))),
    )
  },
})

async function score(engine: ReturnType<typeof model>) {
  const parts = EXAMPLES.map(async (example) => {
    const requests = requestsOf(example).map((request) => encodeRequest(tokenizer, request, 32))
    return tallyOf(example, [...(await logLikelihoods(engine, requests))])
  })
  return scoreOf((await Promise.all(parts)).reduce(added, NO_TALLY))
}

describe('likelihoods', () => {
  it('are summed over the continuation alone', async () => {
    const engine = model((before, id) => id / 8 + before.length * 1_024)
    const request = encodeRequest(tokenizer, { context: 'the cat sat', continuation: ' on the mat' }, 32)
    const { ids, scored } = request
    const wanted = [...ids]
      .map((id, i) => id / 8 + i * 1_024)
      .slice(-scored)
      .reduce((a, b) => a + b, 0)
    const [nats, same] = await logLikelihoods(engine, [request, request])
    expect(nats).toBe(-wanted)
    expect(same).toBe(-wanted)
  })

  it('of a model that knows the answers are right in all of them', async () => {
    const right = EXAMPLES.map((example) => [
      ...tokenizer.encode(`${example.context} ${example.choices[example.gold]}`),
    ])
    const knows = model((before, id) => {
      const begun = (answer: number[]) =>
        before.every((one, i) => answer[i] === one) && answer[before.length] === id
      return right.some(begun) ? 0.01 : 5
    })
    expect(await score(knows)).toMatchObject({
      examples: 3,
      plain: { accuracy: 1, standardError: 0 },
      normalised: { accuracy: 1, standardError: 0 },
      chance: 1 / 3,
    })
  })

  it('of a model that thinks all tokens alike favour the shortest, and divided by length not', async () => {
    const { plain, normalised } = await score(model(() => 1))
    expect(plain.accuracy).toBeCloseTo(1 / 3, 12) // "the cat"
    expect(plain.standardError).toBeCloseTo(Math.sqrt((1 / 3) * (2 / 3) * (1 / 2)), 12)
    expect(normalised.accuracy).toBeCloseTo(1 / 3, 12)
  })
})
