/** Requests as strings. Expected ones are what lm_eval/tasks' Python gives for these rows. */
import { describe, expect, it } from 'vitest'
import { capitalize, lengthOf, strip, stripRight } from './python.ts'
import { arcExample, cleaned, hellaSwagExample, piqaExample, requestsOf } from './tasks.ts'

describe('requests', () => {
  it('of HellaSwag begin with the activity, and the sentence to go on from with a capital', () => {
    const example = hellaSwagExample({
      activity: 'Family Life',
      contextA: '[header] How to hug [title] Open your arms. [step] Smile.  ',
      contextB: 'the OTHER person',
      endings: ['[substeps] hugs  you.', ' waits [title] Wait. '],
      label: 1,
    })
    expect(requestsOf(example)).toEqual([
      {
        context: 'Family Life: How to hug. Open your arms. Smile.  The other person',
        continuation: '  hugs you.',
      },
      {
        context: 'Family Life: How to hug. Open your arms. Smile.  The other person',
        continuation: ' waits. Wait.',
      },
    ])
  })

  it('of PIQA and ARC ask a question and begin the answer', () => {
    expect(
      requestsOf(piqaExample({ goal: 'Boil water', solutions: ['Heat it. ', 'Cool it.'], label: 0 })),
    ).toEqual([
      { context: 'Question: Boil water\nAnswer:', continuation: ' Heat it. ' },
      { context: 'Question: Boil water\nAnswer:', continuation: ' Cool it.' },
    ])
    expect(requestsOf(arcExample({ question: 'What is hot?', choices: ['ice', 'fire'], gold: 1 }))).toEqual([
      { context: 'Question: What is hot?\nAnswer:', continuation: ' ice' },
      { context: 'Question: What is hot?\nAnswer:', continuation: ' fire' },
    ])
  })
})

describe('Python’s strings', () => {
  it.each([
    ['heLLO World', 'Hello world'],
    ['ßA', 'Ssa'],
    ['𐐨𐐀', '𐐀𐐨'],
    ['', ''],
    ['1 A', '1 a'],
  ])('capitalize %j as %j', (text, wanted) => {
    expect(capitalize(text)).toBe(wanted)
  })
  it('strip what Python calls white space, and not the byte order mark', () => {
    expect(strip('\u0085\u001c\u00a0 a b \u3000\n')).toBe('a b')
    expect(strip('\ufeffa')).toBe('\ufeffa')
    expect(stripRight(' a\t ')).toBe(' a')
  })
  it('count characters', () => {
    expect(lengthOf('añ𐐀')).toBe(3)
  })
  it('clean brackets without greed, within a line, and double spaces once', () => {
    expect(cleaned('a [b] c] [d\n] e    f')).toBe('a c] [d\n] e  f')
  })
})
