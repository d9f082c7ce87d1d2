import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { Tokenizer as Reference } from '@huggingface/tokenizers'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { tokenizerFromHuggingFace, tokenizerToHuggingFace } from './huggingFace.ts'
import { Tokenizer } from './tokenizer.ts'
import { trainTokenizer } from './train.ts'

const DATA = fileURLToPath(new URL('../../../shared/data/', import.meta.url))
const bytesOf = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))
const exported = (tokenizer: Tokenizer) => tokenizerToHuggingFace(tokenizer)
const referenceOf = (tokenizer: Tokenizer) =>
  new Reference(JSON.parse(JSON.stringify(exported(tokenizer))), {})
const idsOf = (reference: Reference, text: string) =>
  reference.encode(text, { add_special_tokens: false }).ids

/** Where a JavaScript regular expression's white space and Unicode's part ways, and other traps. */
const ODD = [
  '',
  ' ',
  '   three  two one ',
  "it's they're WE'LL 'tis rock'n'roll ''s",
  'tabs\tand\n\nlines\r\n  \n end',
  'naïve café, Ærø, straße, ǅ, ﬁ',
  '日本語のテキスト。한국어 العربية हिन्दी',
  '😀👩‍👩‍👧‍👦🇩🇰 e\u0301 \u200d',
  '١٢٣ ½ Ⅷ 4ever 1,000.50',
  'a\u0000b\u001cc\u007f\u0080',
  'x'.repeat(300),
  '\u3000wide\u2003em\u202fnarrow',
]

describe('the ids of an exported tokenizer are those of @huggingface/tokenizers', () => {
  const tokenizer = trainTokenizer(
    [ODD.join(' ').repeat(3), 'the soup of the day and the pot of the night '],
    420,
  )
  const reference = referenceOf(tokenizer)

  test.each(ODD)('%j', (text) => {
    expect(Array.from(tokenizer.encode(text))).toEqual(idsOf(reference, text))
  })

  test('on any text, but for U+FEFF and U+0085, which only JavaScript’s \\s takes for another kind', () => {
    const unit = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.string({ unit: fc.constantFrom(...`'strevdlm 0aZé日\n\t  .,!`), maxLength: 30 }),
    )
    fc.assert(
      fc.property(unit, (text) => {
        fc.pre(!/[\ufeff\u0085]/.test(text))
        expect(Array.from(tokenizer.encode(text))).toEqual(idsOf(reference, text))
      }),
      { numRuns: 400 },
    )
  })
})

const WEB = `${DATA}openwebtext_1000.jsonl`
describe.skipIf(!existsSync(WEB))('on real text (skipped where ../shared/data is not)', () => {
  const lines = (text: string): string[] =>
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).text)
  test('32,000 ids of bytes and merges, one special and padding to 32,768', () => {
    const learned = trainTokenizer(lines(readFileSync(WEB, 'utf8')), 32_001)
    const tokenizer = new Tokenizer(learned.merges, 32_768)
    expect([tokenizer.endOfText, tokenizer.vocabSize]).toEqual([32_000, 32_768])
    const reference = referenceOf(tokenizer)
    const c4 = lines(gunzipSync(readFileSync(`${DATA}c4_sample_1k.json.gz`)).toString())
    let tokens = 0
    for (const text of c4.slice(0, 400)) {
      const ids = Array.from(tokenizer.encode(text))
      expect(ids).toEqual(idsOf(reference, text))
      expect(tokenizer.decode(ids)).toBe(text)
      tokens += ids.length
    }
    expect(tokens).toBeGreaterThan(150_000)
  }, 120_000)

  test('a tokenizer.json from elsewhere gives the same tokens under our ids', () => {
    const vocab = JSON.parse(readFileSync(`${DATA}refs/megatron_gpt2-tiny-vocab.json`, 'utf8'))
    const merges = readFileSync(`${DATA}refs/megatron_gpt2-tiny-merges.txt`, 'utf8')
      .split('\n')
      .filter((line) => line.includes(' ') && !line.startsWith('#'))
    const made = new Set([...merges.map((merge) => merge.replace(' ', ''))])
    const known = Object.entries(vocab).filter(([token]) => made.has(token) || Array.from(token).length === 1)
    const file = {
      added_tokens: [{ id: vocab['<|endoftext|>'], content: '<|endoftext|>', special: true }],
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true },
      ...{ decoder: { type: 'ByteLevel' }, normalizer: null, post_processor: null },
      model: { type: 'BPE', vocab: Object.fromEntries(known), merges },
    }
    const { tokenizer, ids } = tokenizerFromHuggingFace(bytesOf(file))
    const reference = new Reference(file, {})
    for (const text of lines(readFileSync(WEB, 'utf8')).slice(0, 5)) {
      expect(Array.from(tokenizer.encode(text))).toEqual(idsOf(reference, text).map((id) => ids[id]))
    }
    expect(ids[vocab['<|endoftext|>']]).toBe(tokenizer.endOfText)
  }, 60_000)
})

describe('a tokenizer.json', () => {
  const small = new Tokenizer([
    [97, 98],
    [256, 99],
  ])
  const file = JSON.parse(JSON.stringify(exported(small)))

  test('comes back as it went out, id for id', () => {
    const { tokenizer, ids } = tokenizerFromHuggingFace(bytesOf(file))
    expect(tokenizer.merges).toEqual(small.merges)
    expect(Array.from(ids)).toEqual(Array.from({ length: 259 }, (_, id) => id))
    expect(tokenizerFromHuggingFace(bytesOf(file), 320).tokenizer.vocabSize).toBe(320)
  })

  test('may give bytes other ids, write merges as strings and have more special tokens', () => {
    const vocab = Object.fromEntries(
      Object.entries(file.model.vocab).map(([token, id]) => [token, 258 - Number(id)]),
    )
    const merges = file.model.merges.map((pair: string[]) => pair.join(' '))
    const added_tokens = [
      { id: 300, content: '<pad>' },
      { id: 0, content: '<|endoftext|>' },
    ]
    const { tokenizer, ids } = tokenizerFromHuggingFace(
      bytesOf({ ...file, added_tokens, model: { ...file.model, vocab, merges } }),
    )
    expect([ids[0], ids[300], ids[299], ids[258 - 97]]).toEqual([258, 259, -1, 97])
    expect([tokenizer.endOfText, tokenizer.vocabSize]).toEqual([258, 260])
  })

  const { model } = file
  test.each([
    ['no JSON', null, 'not JSON in UTF-8'],
    ['another kind of model', { ...file, model: { ...model, type: 'Unigram' } }, 'only BPE is supported'],
    ['text that is changed first', { ...file, normalizer: { type: 'NFC' } }, 'changed before it is split'],
    ['another split', { ...file, pre_tokenizer: { type: 'Whitespace' } }, 'ByteLevel'],
    ['a split of its own', { ...file, pre_tokenizer: { type: 'ByteLevel', use_regex: false } }, 'ByteLevel'],
    ['too few bytes', { ...file, model: { ...model, vocab: { ab: 1 } } }, 'is not in its vocabulary'],
    [
      'a merge of nothing',
      { ...file, model: { ...model, merges: [['abc', 'a']] } },
      'no merge before it makes',
    ],
    [
      'a token of no merge',
      { ...file, model: { ...model, vocab: { ...model.vocab, xyz: 400 } } },
      'made by no merge',
    ],
    [
      'one id twice',
      { ...file, model: { ...model, vocab: { ...model.vocab, b: 97 } } },
      'two tokens have the id 97',
    ],
    ['too many ids', { ...file, model: { ...model, vocab: { ...model.vocab, x: 70_000 } } }, '65,536'],
  ])('with %s is refused', (_, value, message) => {
    const bytes = value === null ? new Uint8Array([0xff]) : bytesOf(value)
    const failure = expect(() => tokenizerFromHuggingFace(bytes))
    failure.toThrow(expect.objectContaining({ code: 'bad-blob', message: expect.stringContaining(message) }))
  })

  test('that is spoilt anywhere is read or refused, and nothing else', () => {
    const bytes = bytesOf(file)
    const spoil = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(spoil, fc.nat(bytes.length), (changes, length) => {
        const spoilt = bytes.slice(0, length % 3 === 0 ? length : bytes.length)
        for (const [at, value] of changes) spoilt[at] = value
        try {
          tokenizerFromHuggingFace(spoilt)
        } catch (error) {
          expect(error).toMatchObject({ name: 'PotluckError', code: 'bad-blob' })
        }
      }),
      { numRuns: 300 },
    )
  })
})
