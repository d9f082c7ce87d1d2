/** `corpus add | list | remove`: text to train on. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { tokenizerFromHuggingFace } from '../../shared/tokenizer/huggingFace.ts'
import { newId } from '../accounts/secrets.ts'
import { readConfig } from '../config.ts'
import { bringing, findParts } from '../corpus/import/find.ts'
import { type ImportRequest, importCorpus } from '../corpus/import/importCorpus.ts'
import { progressTo } from '../corpus/import/progress.ts'
import { removeCorpus } from '../corpus/remove.ts'
import type { CorpusRecord } from '../store/metadata.ts'
import { type Action, type Command, type Given, type Surroundings, wholeNumber } from './command.ts'
import { withData } from './data.ts'

const USUAL = { vocab: 32_768, field: 'text', separator: '<|endoftext|>', seed: 'potluck' }

const add: Action = {
  usage:
    "<file, folder, URL, c4 or hf:dataset[:config]> --name <name> [--vocab 32768] [--separator '<|endoftext|>'] [--field text] [--tokenizer tokenizer.json] [--licence <words>] [--parts <n>] [--validation-parts <n>] [--seed <words>]",
  summary:
    'Imports text: .txt, .jsonl, .jsonl.gz, .parquet; .bin of nanoGPT or llm.c with --tokenizer. The same command goes on after an interruption.',
  options: {
    name: { type: 'string' },
    vocab: { type: 'string' },
    separator: { type: 'string' },
    field: { type: 'string' },
    tokenizer: { type: 'string' },
    licence: { type: 'string' },
    parts: { type: 'string' },
    'validation-parts': { type: 'string' },
    seed: { type: 'string' },
  },
  positionals: [1, 1],
  run: addCorpus,
}

async function addCorpus(given: Given, { environment, print }: Surroundings): Promise<void> {
  const source = given.positionals[0] ?? '' // one is there
  const name = (given.values.name ?? '').trim()
  if (name === '' || name.length > 60)
    throw new PotluckError('bad-request', 'Give the corpus a --name of 1 to 60 characters.')
  const { hub } = readConfig(environment)
  const request = await requestOf(given, source, name)
  const most = (option: string) =>
    wholeNumber(given, option, { least: 0, most: 1_000_000, otherwise: Number.POSITIVE_INFINITY })
  const limits = { training: most('parts'), validation: most('validation-parts') }
  await withData(given.data, async ({ folder, store, blobs }) => {
    const progress = progressTo(process.stderr)
    const imported = await importCorpus(
      request,
      { blobs, folder: join(folder, 'corpora'), progress, bring: bringing(progress) },
      () => findParts(source, hub, limits),
    )
    const { index: hash, brokenExamples, ...counts } = imported
    const same = (await store.corpora()).find((corpus) => corpus.hash === hash)
    const corpus: CorpusRecord = {
      ...counts,
      ...{ id: same?.id ?? newId(), name, source, hash, vocabSize: request.vocabSize, at: Date.now() },
      licence: imported.licence,
    }
    if (same) await store.dropCorpus(same.id)
    await store.addCorpus(corpus)
    for (const line of summary(corpus, brokenExamples)) print(line)
  })
}

async function requestOf(given: Given, source: string, name: string): Promise<ImportRequest> {
  const { separator = USUAL.separator, field = USUAL.field, tokenizer: file, licence = '' } = given.values
  if (separator === '') throw new PotluckError('bad-request', '--separator must not be empty.')
  const bytes = file === undefined ? null : await readFile(file).catch(() => null)
  if (file !== undefined && bytes === null) throw new PotluckError('bad-request', `There is no file ${file}.`)
  const asked = given.values.vocab === undefined ? undefined : vocabOf(given)
  const foreign = bytes && tokenizerFromHuggingFace(bytes, asked)
  const tokens = foreign && { ids: foreign.ids, endOfText: foreign.tokenizer.endOfText }
  return {
    ...{ name, licence, seed: given.values.seed ?? USUAL.seed },
    vocabSize: foreign?.tokenizer.vocabSize ?? vocabOf(given),
    read: { field, separator: unescaped(separator), tokens },
    tokenizer: foreign?.tokenizer ?? null,
    identity: [source, given.values],
  }
}

const vocabOf = (given: Given): number =>
  wholeNumber(given, 'vocab', { least: 257, most: 65_536, otherwise: USUAL.vocab })

/** As one writes them in a shell: \n, \r, \t and \\. */
const unescaped = (text: string): string =>
  text.replace(/\\([nrt\\])/g, (_, letter: string) => ({ n: '\n', r: '\r', t: '\t' })[letter] ?? letter)

function summary(corpus: CorpusRecord, examples: readonly string[]): string[] {
  const { id, name, documents, tokens, validationTokens, bytes, broken } = corpus
  const whole = (value: number) => value.toLocaleString('en')
  return [
    `"${name}" is there as ${id}.`,
    `${whole(documents)} documents, ${whole(tokens)} tokens to train on and ${whole(validationTokens)} to validate, ${(bytes / tokens).toFixed(2)} bytes per token, ${whole(broken)} broken lines.`,
    ...(broken > 0 ? ['Left out, for example:', ...examples.map((example) => `  ${example}`)] : []),
  ]
}

const list: Action = {
  usage: '',
  summary: 'Lists the corpora.',
  options: {},
  positionals: [0, 0],
  run: (given, { print }) =>
    withData(given.data, async ({ store }) => {
      const corpora = await store.corpora()
      if (corpora.length === 0) print('There are no corpora but the embedded one.')
      for (const { id, name, documents, tokens, bytes, vocabSize, licence } of corpora)
        print(
          `${id}  ${name}: ${documents} documents, ${tokens} tokens of a vocabulary of ${vocabSize}, ${(bytes / tokens).toFixed(2)} bytes per token. Licence: ${licence || 'not known'}`,
        )
    }),
}

const remove: Action = {
  usage: '<id>',
  summary: 'Removes a corpus and its text from the data folder.',
  options: {},
  positionals: [1, 1],
  run: (given, { print }) =>
    withData(given.data, async ({ store, blobs }) => {
      const removed = await removeCorpus(given.positionals[0] ?? '', store, blobs) // one is there
      print(`"${removed.name}" is removed.`)
    }),
}

export const corpusCommand: Command = { summary: 'Texts to train on', actions: { add, list, remove } }
