/**
 * Data sets on a Hugging Face hub: which files a config has, by the card's own list or by their names, pinned to a
 * revision. Sources: huggingface.co/docs/hub/api and docs/hub/datasets-manual-configuration.
 */
import { z } from 'zod'
import { PotluckError } from '../../../shared/protocol/errors.ts'
import { formatOf } from '../read/read.ts'
import { get, type Manners } from './polite.ts'
import type { Part } from './state.ts'

export interface DataSet {
  readonly repository: string
  readonly config: string | null
}

/** C4 in English, its train shards and its own validation shards as they are published. */
export const C4: DataSet = { repository: 'allenai/c4', config: 'en' }

const path = z.string().min(1).max(500)
const patterns = z.union([path.transform((one) => [one]), z.array(path)])
const dataFiles = z.union([
  z.array(z.object({ split: z.string(), path: patterns })),
  patterns.transform((all) => [{ split: 'train', path: all }]),
])
const cardSchema = z.object({
  license: z.union([z.string(), z.array(z.string())]).catch(''),
  configs: z
    .array(
      z.object({
        config_name: z.string(),
        default: z.boolean().optional(),
        data_files: dataFiles.optional().catch(undefined),
      }),
    )
    .catch([]),
})
const infoSchema = z.object({
  sha: z.string().regex(/^[0-9a-f]{6,64}$/),
  cardData: cardSchema.optional().catch(undefined),
})
const treeSchema = z.array(
  z.object({
    type: z.string(),
    path,
    size: z.number().int().nonnegative(),
    lfs: z.object({ oid: z.string(), size: z.number().int().nonnegative() }).optional(),
  }),
)
type Tree = z.infer<typeof treeSchema>
/** Bytes of JSON in one answer, pages of a listing, and files in all. */
const MOST = { json: 32 * 1024 * 1024, pages: 500, files: 200_000 }

/** `hf:<dataset>[:config]`. @throws PotluckError `bad-request` */
export function dataSetOf(source: string): DataSet {
  const match = /^hf:([\w.-]+(?:\/[\w.-]+)?)(?::([\w.-]+))?$/.exec(source)
  if (match?.[1] === undefined)
    throw new PotluckError(
      'bad-request',
      `${source} is no data set: write hf:owner/name or hf:owner/name:config.`,
    )
  return { repository: match[1], config: match[2] ?? null }
}

/** @throws PotluckError `not-found`, `bad-corpus` */
export async function hubParts(
  hub: string,
  { repository, config }: DataSet,
  manners?: Manners,
): Promise<{ readonly parts: Part[]; readonly licence: string }> {
  const api = `${hub}/api/datasets/${repository}`
  const info = parse(infoSchema, (await json(`${api}/revision/main`, manners)).value, api)
  const files = await listing(`${api}/tree/${info.sha}?recursive=true`, manners)
  const wanted = choose(files, config, info.cardData?.configs ?? [])
  if (!wanted.some(({ split }) => split === 'training'))
    throw new PotluckError(
      'bad-corpus',
      `The data set ${repository} has no files to train on that can be read${config === null ? '' : ` in its config ${config}`}.`,
    )
  const parts = wanted.map(({ split, file }) => ({
    ...{ name: file.path, split, size: file.lfs?.size ?? file.size },
    sha256: file.lfs && /^[0-9a-f]{64}$/.test(file.lfs.oid) ? file.lfs.oid : null,
    from: {
      url: `${hub}/datasets/${repository}/resolve/${info.sha}/${file.path.split('/').map(encodeURIComponent).join('/')}`,
    },
  }))
  const licence = info.cardData?.license ?? ''
  return { parts, licence: Array.isArray(licence) ? licence.join(', ') : licence }
}

interface Chosen {
  readonly split: Part['split']
  readonly file: Tree[number]
}

/** Train and validation files of a config; test files are nobody's. */
export function choose(
  tree: Tree,
  config: string | null,
  configs: z.infer<typeof cardSchema>['configs'],
): Chosen[] {
  const files = tree
    .filter(({ type, path }) => type === 'file' && formatOf(path) !== null)
    .sort((a, b) => (a.path < b.path ? -1 : 1))
  const listed =
    configs.find((one) =>
      config === null ? (one.default ?? one.config_name === 'default') : one.config_name === config,
    ) ?? (config === null ? configs[0] : undefined)
  if (listed?.data_files) {
    const { data_files: rules } = listed
    return files.flatMap((file) => {
      const rule = rules.find(({ path: globs }) => globs.some((glob) => matches(glob, file.path)))
      const split = rule && splitNamed(rule.split)
      return split ? [{ split, file }] : []
    })
  }
  const inside =
    config === null ? files : files.filter(({ path }) => path.split('/').slice(0, -1).includes(config))
  return inside.flatMap((file) => {
    const split = splitNamed(file.path)
    return split ? [{ split, file }] : []
  })
}

function splitNamed(name: string): Part['split'] | null {
  if (/(^|[^a-z])(valid|validation|val|dev)([^a-z]|$)/i.test(name)) return 'validation'
  return /(^|[^a-z])test([^a-z]|$)/i.test(name) ? null : 'training'
}

/** `*` within a folder, `**` across, `?` and `{a,b}` and `[0-9]`. */
function matches(glob: string, path: string): boolean {
  const expression = glob
    .slice(0, 300)
    .replace(/\*\*\/?|\*|\?|\{[^{}]*\}|\[[\w-]+\]|[\\^$+.()|{}[\]]/g, (token) => {
      if (token.startsWith('**')) return '.*'
      if (token === '*') return '[^/]*'
      if (token === '?') return '[^/]'
      if (token.length > 2 && token.startsWith('{'))
        return `(?:${token
          .slice(1, -1)
          .split(',')
          .map((one) => one.replace(/[^\w-]/g, '\\$&'))
          .join('|')})`
      return token.length > 2 ? token : `\\${token}`
    })
  return new RegExp(`^${expression}$`).test(path)
}

async function listing(first: string, manners?: Manners): Promise<Tree> {
  const files: Tree = []
  let next: string | null = first
  for (let page = 0; next !== null && page < MOST.pages && files.length < MOST.files; page++) {
    const { value, link } = await json(next, manners)
    files.push(...parse(treeSchema, value, next))
    const more: string | undefined = /<([^<>]+)>;\s*rel="next"/.exec(link)?.[1]
    next = more === undefined ? null : new URL(more, next).href
  }
  return files
}

async function json(url: string, manners?: Manners): Promise<{ value: unknown; link: string }> {
  const { response, header } = await get(url, manners ? { manners } : {})
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk)
    size += chunk.length
    if (size > MOST.json)
      throw new PotluckError('bad-corpus', `${url} answers with more than ${MOST.json} bytes.`)
  }
  try {
    return { value: JSON.parse(Buffer.concat(chunks).toString('utf8')), link: header('link') ?? '' }
  } catch {
    throw new PotluckError('bad-corpus', `${url} answers with something that is not JSON.`)
  }
}

function parse<T>(schema: z.ZodType<T>, value: unknown, url: string): T {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  throw new PotluckError(
    'bad-corpus',
    `${url} answers with something else than a hub: ${z.prettifyError(parsed.error).slice(0, 300)}`,
  )
}
