import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { tokenizerToBytes } from './json.ts'
import { learnMerges, lowestIds, type TieRule, trainTokenizer } from './train.ts'
import type { Merge } from './vocabulary.ts'

const id = (character: string) => character.charCodeAt(0)
const pair = (left: string | number, right: string | number): Merge => [
  typeof left === 'string' ? id(left) : left,
  typeof right === 'string' ? id(right) : right,
]

describe('merges worked by hand', () => {
  /**
   * The example of Sennrich et al. The pairs' counts at first: e s 9, s t 9, w e 8, l o 7, o w 7, n e 6, e w 6, w i 3,
   * i d 3, d e 3, e r 2. Ids of e, l, n, o, s are 101, 108, 110, 111, 115.
   */
  const texts = [
    ...Array<string>(5).fill('low'),
    ...Array<string>(2).fill('lower'),
    ...Array<string>(3).fill('widest'),
    ...Array<string>(6).fill('newest'),
  ]

  test('the most frequent pair first, the lowest ids among equals', () => {
    expect(learnMerges(texts, 6, lowestIds)).toEqual([
      pair('e', 's'), // 256, 9 times; `s t` too
      pair(256, 't'), // 257 est, 9 times
      pair('l', 'o'), // 258, 7 times; `o w` too
      pair(258, 'w'), // 259 low, 7 times
      pair('e', 'w'), // 260, 6 times; `n e` and `w est` too
      pair('n', 260), // 261 new, 6 times; `ew est` too, with a higher left id
    ])
  })

  test('overlapping pairs join from the left', () => {
    // aaaaa: a a 4 → A A a; A A 1 and A a 1 → `A a`, for a=97 is below 256 → A B.
    expect(learnMerges(['aaaaa'], 3, lowestIds)).toEqual([pair('a', 'a'), pair(256, 'a'), pair(256, 257)])
  })

  test('pairs do not reach over a word’s edge', () => {
    // "a b a b": the words are `a`, ` b`, ` a`, ` b`.
    expect(learnMerges(['a b a b'], 2, lowestIds)).toEqual([pair(' ', 'b'), pair(' ', 'a')])
  })

  test('a pair whose bytes another token already has is left alone', () => {
    // Neither order of joining may give two tokens of the same bytes, whatever the corpus.
    const letters = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 30, maxLength: 60 })
    fc.assert(
      fc.property(letters, fc.integer({ min: 1, max: 12 }), (text, count) => {
        const tokenizer = trainTokenizer([text.repeat(3)], 257 + count)
        const names = Array.from({ length: tokenizer.endOfText }, (_, id) =>
          tokenizer.decodeBytes([id]).join(),
        )
        expect(new Set(names).size).toBe(names.length)
      }),
    )
  })

  test('no token has more than 256 bytes', () => {
    // Runs of 2, 4, … 256 bytes; the ninth doubling would have 512.
    const learn = () => learnMerges(['a'.repeat(4096)], 9, lowestIds)
    expect(learn).toThrow(expect.objectContaining({ code: 'bad-corpus' }))
    expect(learn).toThrow('at most 265 ids')
  })
})

/** The textbook's way: count everything again before each merge. */
function learnSlowly(wordList: readonly string[], count: number): Merge[] {
  let corpus = wordList.map((word) => [...new TextEncoder().encode(word)])
  const merges: Merge[] = []
  while (merges.length < count) {
    const counts = new Map<string, { ids: Merge; count: number }>()
    for (const word of corpus) {
      for (let i = 0; i + 1 < word.length; i++) {
        const ids: Merge = [word[i] ?? 0, word[i + 1] ?? 0]
        counts.set(ids.join(), { ids, count: (counts.get(ids.join())?.count ?? 0) + 1 })
      }
    }
    const [best] = [...counts.values()].sort(
      (x, y) => y.count - x.count || (lowestIds(x.ids, y.ids) ? -1 : 1),
    )
    if (best === undefined) return merges
    const next = 256 + merges.push(best.ids) - 1
    corpus = corpus.map((word) => joinPair(word, best.ids, next))
  }
  return merges
}

function joinPair(word: readonly number[], [left, right]: Merge, joined: number): number[] {
  const out: number[] = []
  for (let i = 0; i < word.length; i++) {
    const here = word[i] ?? 0
    const both = here === left && word[i + 1] === right
    out.push(both ? joined : here)
    if (both) i++
  }
  return out
}

describe('the trainer', () => {
  test('learns what counting everything again before each merge learns', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 7 })
    fc.assert(
      fc.property(fc.array(word, { minLength: 8, maxLength: 30 }), (texts) => {
        const slow = learnSlowly(texts, 3)
        expect(learnMerges(texts, slow.length, lowestIds)).toEqual(slow)
      }),
    )
  })

  test('does not depend on the order of the texts', () => {
    const texts = ['pea soup', 'soup spoon', 'peas and spoons', 'soap', 'a pan']
    const bytes = tokenizerToBytes(trainTokenizer(texts, 275))
    expect(tokenizerToBytes(trainTokenizer(texts, 275))).toEqual(bytes)
    expect(tokenizerToBytes(trainTokenizer(texts.toReversed(), 275))).toEqual(bytes)
  })

  test('encodes a training word into the symbols that training left it in', () => {
    expect([...trainTokenizer(['low low low lower'], 260).encode(' lower')]).toEqual([258, 101, 114])
  })

  test('needs no text for 257 ids', () => {
    expect(trainTokenizer([], 257).vocabSize).toBe(257)
  })

  test('makes every id that was asked for, and end-of-text is the last', () => {
    const tokenizer = trainTokenizer(['a stock pot and a stew pot'], 270)
    expect(tokenizer.vocabSize).toBe(270)
    expect(tokenizer.endOfText).toBe(269)
  })

  test('says how large a vocabulary the corpus supports, and that one works', () => {
    // "abc" has two merges: ab, then abc.
    expect(() => trainTokenizer(['abc'], 300)).toThrow(expect.objectContaining({ code: 'bad-corpus' }))
    expect(() => trainTokenizer(['abc'], 300)).toThrow('at most 259 ids')
    expect(trainTokenizer(['abc'], 259).vocabSize).toBe(259)
  })

  test.each([256, 65_537, 300.5, Number.NaN])('refuses a vocabulary of %s', (size) => {
    expect(() => trainTokenizer(['abc'], size)).toThrow(expect.objectContaining({ code: 'bad-config' }))
  })
})

/** Corpus and merges of Stanford's CS336 first assignment, made by another implementation. */
const references = fileURLToPath(new URL('../../../shared/data/refs/', import.meta.url))
const corpusFile = `${references}cs336_corpus.en`
const present = existsSync(corpusFile)

describe(`the CS336 reference${present ? '' : ` (skipped: there is no ${corpusFile})`}`, () => {
  /** The reference's own rule: of equal counts the pair with the greater bytes. */
  const greatestBytes: TieRule = (a, b, bytesOf) => {
    const [leftA, leftB] = [bytesOf(a[0]), bytesOf(b[0])]
    return leftA === leftB ? bytesOf(a[1]) > bytesOf(b[1]) : leftA > leftB
  }

  test.skipIf(!present)('all 243 merges agree', () => {
    const expected = readFileSync(`${references}cs336_train-bpe-reference-merges.txt`, 'utf8')
    const names = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte))
    const merges = learnMerges([readFileSync(corpusFile, 'utf8')], 243, greatestBytes).map(
      ([left, right]) => {
        names.push(`${names[left]}${names[right]}`)
        return `${names[left]} ${names[right]}`.replace(/^ (.* )|(?<= ) /, (m) => m.replace(' ', 'Ġ'))
      },
    )
    expect(merges).toEqual(expected.trimEnd().split('\n'))
  })
})
