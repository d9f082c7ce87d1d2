/** `checkpoint list | export`: the checkpoints that are kept, and files for other programs. */
import { createWriteStream } from 'node:fs'
import { mkdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { CHECKPOINT_FILES, type CheckpointRow } from '../../shared/protocol/checkpoints.ts'
import { Checkpoints } from '../checkpoints/checkpoints.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import type { Action, Command } from './command.ts'
import { type DataFolder, withData } from './data.ts'
import { tableOf } from './table.ts'
import { findTarget } from './target.ts'

const HEADING = ['Checkpoint', 'Run', 'Preset', 'Loss', 'Bits/byte', 'MB', 'Kept as']

const rowOf = (row: CheckpointRow): string[] => [
  ...[`${row.run}/${row.round}`, row.name, row.preset],
  ...[row.valLoss?.toFixed(4) ?? '–', row.bitsPerByte?.toFixed(4) ?? '–'],
  ...[(row.bytes / 1e6).toFixed(1), row.reasons.join(', ')],
]

/** For reading: what merges and prunes is a coordinator's. */
async function readOnly({ folder, store, blobs }: DataFolder): Promise<Checkpoints> {
  const vault = await openFileBlobStore(join(folder, 'vault'))
  const merge = () => Promise.reject(new Error('internal: a command merges nothing'))
  return new Checkpoints({
    ...{ store, blobs, vault, aggregator: { merge } },
    machine: () => null,
    comes: () => false,
  })
}

const list: Action = {
  usage: '',
  summary: 'Shows the checkpoints that are kept, the newest run and round first.',
  options: {},
  positionals: [0, 0],
  run: ({ data }, { print }) =>
    withData(data, async (folder) => {
      const rows = await (await readOnly(folder)).list()
      if (rows.length === 0) print('There is none yet.')
      else print(tableOf([HEADING, ...rows.map(rowOf)]))
    }),
}

const exportFiles: Action = {
  usage: '<run>[/<round>] --to <folder>',
  summary: `Writes ${CHECKPOINT_FILES.join(', ')} into a folder; of a run's newest checkpoint where no round is given.`,
  options: { to: { type: 'string' } },
  positionals: [1, 1],
  run: ({ positionals: [name = ''], values, data }, { print }) =>
    withData(data, async (folder) => {
      const to = values.to ?? '.'
      const checkpoints = await readOnly(folder)
      const { record, checkpoint } = await findTarget(folder.store, name)
      await mkdir(to, { recursive: true })
      for (const file of CHECKPOINT_FILES) {
        const { body, bytes } = await checkpoints.download(record.id, checkpoint.round, file)
        const path = join(to, file)
        const source = body instanceof Uint8Array ? Readable.from([body]) : body
        await pipeline(source, createWriteStream(`${path}.part`))
        await rename(`${path}.part`, path)
        print(`${path}: ${bytes} bytes`)
      }
    }),
}

export const checkpointCommand: Command = {
  summary: 'Weights of rounds that are kept',
  actions: { list, export: exportFiles },
}
