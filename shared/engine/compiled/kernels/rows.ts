/**
 * Kernels over rows: a row is worked on by one thread, or by a whole workgroup that adds up in shared memory, with
 * subgroup operations where the device has them. GPUs want many threads with neighbouring addresses, a GPU that is a
 * program on the CPU wants no barriers. Every sum has one order on one device: the same bits each time.
 */
import { type Kernel, type KernelText, kernel, spread, THREADS } from '../kernel.ts'

export interface Sharing {
  /** 1, or a power of two: that many threads share a row. */
  readonly threadsPerRow: number
  /** Adds over the threads that run together by one operation. */
  readonly subgroups?: boolean
}

/** The body knows `row`, and `lane` among the threads of the row; `total(x)` and `largestOf(x)` are over them. */
export function eachRow(
  { rows, threadsPerRow, subgroups = false }: Sharing & { readonly rows: number },
  text: Omit<KernelText, 'threads' | 'groups'>,
): Kernel {
  const alone = threadsPerRow === 1
  const groups = spread(alone ? Math.ceil(rows / THREADS) : rows)
  const index = `group.y * ${groups[0]}u + group.x`
  const place = alone
    ? `let row = (${index}) * ${THREADS}u + local.x; let lane = 0u;`
    : `let row = ${index}; let lane = local.x;`
  const reduction = subgroups ? overSubgroups : overTree
  const functions = Object.entries(REDUCTIONS)
    .filter(([name]) => text.body.includes(`${name}(`))
    .map(([name, of]) => (alone ? overNone(name) : reduction(name, of, threadsPerRow)))
  const shared = alone ? '' : `var<workgroup> shared_: array<f32, ${threadsPerRow}>;`
  return kernel({
    ...text,
    subgroups: subgroups && !alone,
    threads: [alone ? THREADS : threadsPerRow, 1],
    groups,
    head: [shared, ...functions, text.head ?? ''].join('\n'),
    body: `  ${place}\n  if (row >= ${rows}u) { return; }\n${text.body}`,
  })
}

interface Reduction {
  pair(a: string, b: string): string
  readonly subgroup: string
}

const REDUCTIONS: Record<string, Reduction> = {
  total: { pair: (a, b) => `${a} + ${b}`, subgroup: 'subgroupAdd' },
  largestOf: { pair: (a, b) => `max(${a}, ${b})`, subgroup: 'subgroupMax' },
}

const overNone = (name: string) => `fn ${name}(value: f32, lane: u32) -> f32 { return value; }`

const overTree = (name: string, { pair }: Reduction, threads: number) => /* wgsl */ `
fn ${name}(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  shared_[lane] = value;
  workgroupBarrier();
  for (var half = ${threads / 2}u; half > 0u; half /= 2u) {
    if (lane < half) { shared_[lane] = ${pair('shared_[lane]', 'shared_[lane + half]')}; }
    workgroupBarrier();
  }
  return shared_[0];
}`

/**
 * Subgroups have 4 to 128 threads, known only on the device; their threads are taken to follow one another, as they do on
 * every driver known to us and as the self-test would notice if they did not. One may be larger than the workgroup.
 */
const overSubgroups = (name: string, { pair, subgroup }: Reduction, threads: number) => /* wgsl */ `
fn ${name}(value: f32, lane: u32) -> f32 {
  let mine = ${subgroup}(value);
  workgroupBarrier();
  if (lane % subgroupSize == 0u) { shared_[lane / subgroupSize] = mine; }
  workgroupBarrier();
  var all = shared_[0];
  for (var at = 1u; at < ${threads}u / subgroupSize; at++) { all = ${pair('all', 'shared_[at]')}; }
  return all;
}`
