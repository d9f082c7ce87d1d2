import { describe, expect, test } from 'vitest'
import { manifestFromBytes } from '../../shared/corpus/manifest.ts'
import { decodeShard, MAX_SHARD_TOKENS } from '../../shared/corpus/shard.ts'
import { tokenizerFromJSON } from '../../shared/tokenizer/json.ts'
import { trainTokenizer } from '../../shared/tokenizer/train.ts'
import { sha256 } from '../store/fileBlobs.ts'
import { buildCorpus, type CorpusSource, splitDocuments } from './build.ts'
import { readStateOfTheUnion, SOTU_LICENCE, SOTU_NAME } from './sotu.ts'

async function build(source: CorpusSource) {
  const blobs = new Map<string, Uint8Array>()
  const built = await buildCorpus(source, async (bytes) => {
    blobs.set(sha256(bytes), bytes)
    return sha256(bytes)
  })
  const blob = (hash: string) => blobs.get(hash) ?? new Uint8Array(0)
  const part = (name: 'training' | 'validation') =>
    built.manifest[name].map(({ hash, sequences }) =>
      decodeShard(blob(hash), { ...built.manifest, sequences }),
    )
  return { ...built, blob, shards: { training: part('training'), validation: part('validation') } }
}

/** The sequences of some shards, one string each. */
function sequencesIn(shards: readonly Uint16Array[], size: number): string[] {
  return shards.flatMap((tokens) =>
    Array.from({ length: tokens.length / size }, (_, i) => tokens.slice(i * size, (i + 1) * size).join()),
  )
}

/** Bytes alone, T = 3: every token can be written down. */
const menus: CorpusSource = {
  name: 'Menus',
  licence: 'CC0-1.0',
  documents: [...'ABCDEFGHIJ'].map((name) => ({ name, text: name.toLowerCase().repeat(3) })),
  vocabSize: 257,
  sequenceLength: 3,
  seed: 'x',
}

describe('a small corpus worked by hand', () => {
  test('documents are joined by end-of-text, cut into whole sequences, and the tenth is validation', async () => {
    const documents = menus.documents.map((document, i) =>
      i === 9 ? { name: 'J', text: 'jjjkkkk!' } : document,
    )
    const built = await build({ ...menus, documents })
    // Nine times three letters and eight end-of-texts are 35 tokens: eight sequences of 4, and 3 tokens dropped.
    expect(built.training).toEqual({ documents: 9, bytes: 27, tokens: 35 })
    const [a, end] = [97, 256]
    const letters = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => [a + i, a + i, a + i, end].join())
    expect(sequencesIn(built.shards.training, 4).toSorted()).toEqual(letters.toSorted())
    expect(built.shards.validation.map((tokens) => [...tokens])).toEqual([
      [106, 106, 106, 107, 107, 107, 107, 33],
    ])
    expect(built.validation).toEqual({ documents: 1, bytes: 8, tokens: 8 })
  })

  test('validation documents stay in order, with end-of-text between', async () => {
    const twice = [
      ...menus.documents,
      ...menus.documents.map(({ text }) => ({ name: 'again', text: `${text}!` })),
    ]
    const { shards } = await build({ ...menus, documents: twice })
    expect(shards.validation.map((tokens) => [...tokens])).toEqual([[106, 106, 106, 256, 106, 106, 106, 33]])
  })

  test('the manifest’s blob is the manifest, and its tokenizer’s blob the tokenizer', async () => {
    const source = {
      ...menus,
      documents: menus.documents.map((document) => ({ ...document, text: 'soup pot' })),
    }
    const built = await build({ ...source, vocabSize: 259 })
    expect(manifestFromBytes(built.blob(built.manifestHash))).toEqual(built.manifest)
    expect(built.manifest).toMatchObject({
      name: 'Menus',
      licence: 'CC0-1.0',
      vocabSize: 259,
      sequenceLength: 3,
    })
    expect(tokenizerFromJSON(built.blob(built.manifest.tokenizer)).merges).toEqual(built.tokenizer.merges)
  })

  test('shards hold whole sequences and 2^20 tokens at most', async () => {
    const long = menus.documents.map(({ name, text }) => ({ name, text: text.repeat(50_000) }))
    const { manifest, shards } = await build({ ...menus, documents: long, sequenceLength: 6 })
    // 1,350,008 tokens make 192,858 sequences of 7; 149,796 of them fit in 1,048,576 tokens.
    expect(manifest.training.map(({ sequences }) => sequences)).toEqual([149_796, 43_062])
    for (const tokens of shards.training) expect(tokens.length).toBeLessThanOrEqual(MAX_SHARD_TOKENS)
  }, 60_000)
})

describe('a corpus that cannot be built is refused', () => {
  const [first, ...others] = menus.documents
  const empty = { name: 'Blank', text: ' \n' }
  test.each([
    ['no documents', { documents: [] }, 'bad-corpus', 'no documents'],
    ['nine documents', { documents: others }, 'bad-corpus', 'at least 10'],
    [
      'an empty document',
      { documents: [first ?? empty, empty, ...others] },
      'bad-corpus',
      '"Blank" is empty',
    ],
    ['too little training text', { sequenceLength: 35 }, 'bad-corpus', 'training documents make 35 tokens'],
    [
      'too little validation text',
      { sequenceLength: 34 },
      'bad-corpus',
      'validation documents make 3 tokens',
    ],
    ['too few pairs', { vocabSize: 400 }, 'bad-corpus', 'at most 275 ids'],
    ['a vocabulary too small', { vocabSize: 256 }, 'bad-config', '257'],
    ['no sequence length', { sequenceLength: 0 }, 'bad-config', 'sequence length'],
    ['a sequence longer than a shard', { sequenceLength: MAX_SHARD_TOKENS }, 'bad-config', 'sequence length'],
  ])('%s', async (_, change, code, message) => {
    const failure = expect(build({ ...menus, ...change })).rejects
    await failure.toMatchObject({ code, message: expect.stringContaining(message) })
  })
})

describe('the State of the Union corpus', async () => {
  const documents = await readStateOfTheUnion()
  const source = { name: SOTU_NAME, licence: SOTU_LICENCE, documents, vocabSize: 1_024, sequenceLength: 64 }
  const built = await build({ ...source, seed: 'one' })

  test('is 233 addresses in the order of their years', () => {
    expect(documents.length).toBe(233)
    expect(documents.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0)).toBe(10_761_413)
    expect(documents[0]?.name).toBe('1790_george_washington_n')
    expect(documents.at(-1)?.name).toMatch(/^2021_/)
  })

  test('every tenth address is validation and no address is in both', () => {
    const { training, validation } = splitDocuments(documents)
    expect(validation).toEqual(documents.filter((_, index) => (index + 1) % 10 === 0))
    expect([training.length, validation.length]).toEqual([210, 23])
    expect(new Set([...training, ...validation]).size).toBe(233)
    expect(built.validation.documents).toBe(23)
  })

  test('the tokenizer has never seen validation', () => {
    const { training } = splitDocuments(documents)
    const alone = trainTokenizer(
      training.map(({ text }) => text),
      1_024,
    )
    expect(built.tokenizer.merges).toEqual(alone.merges)
  }, 60_000)

  test('has about 2.98 bytes a token', () => {
    const bytes = built.training.bytes + built.validation.bytes
    expect(bytes / (built.training.tokens + built.validation.tokens)).toBeCloseTo(2.98, 1)
  })

  test('training holds the training addresses and validation the validation addresses, whole but for the end', () => {
    const { training, validation } = splitDocuments(documents)
    const size = 65
    const { endOfText } = built.tokenizer
    const ends = (shards: readonly Uint16Array[]) =>
      shards.reduce((sum, tokens) => sum + tokens.filter((id) => id === endOfText).length, 0)
    expect(ends(built.shards.training)).toBe(training.length - 1)
    expect(ends(built.shards.validation)).toBe(validation.length - 1)
    const text = validation.map(({ text }) => text).join('')
    const tokens = built.shards.validation.flatMap((shard) => [...shard])
    expect(text.startsWith(built.tokenizer.decode(tokens))).toBe(true)
    expect(built.validation.tokens - tokens.length).toBe(built.validation.tokens % size)
  })

  test('the same source has the same hash; another seed only another order of training', async () => {
    const again = await build({ ...source, seed: 'one' })
    expect(again.manifestHash).toBe(built.manifestHash)
    const other = await build({ ...source, seed: 'two' })
    expect(other.manifest.validation).toEqual(built.manifest.validation)
    expect(other.manifest.tokenizer).toBe(built.manifest.tokenizer)
    const [ours, theirs] = [sequencesIn(built.shards.training, 65), sequencesIn(other.shards.training, 65)]
    expect(theirs).not.toEqual(ours)
    expect(theirs.toSorted()).toEqual(ours.toSorted())
  }, 60_000)
})
