/**
 * The merge's inner loops in WebAssembly with SIMD: put together from text when a thread first needs them, so that
 * nobody has to trust a binary. Those that compute weights give the bits of plain
 * functions, which stand beside them.
 */
import { type Accumulate, accumulateWat, type KernelCodec } from './accumulateKernel.ts'
import { SEAL_WAT, type SealKernel } from './sealKernel.ts'
import { APPLY_WAT, type Apply, type OuterStepKernel, STEP_WAT } from './stepKernel.ts'

export interface Kernels extends Record<KernelCodec, Accumulate> {
  readonly step: OuterStepKernel
  readonly apply: Apply
  readonly seal: SealKernel
}

/** Takes the memory as an import, shared between threads. */
const MODULE_WAT = `
(module
  (import "potluck" "memory" (memory 1 65536 shared))
  ${accumulateWat('int8')}
  ${accumulateWat('int4')}
  ${STEP_WAT}
  ${APPLY_WAT}
  ${SEAL_WAT})`

let compiled: Promise<WebAssembly.Module> | undefined

/** Assembled and compiled once a thread. Null where WebAssembly has no SIMD. */
export async function loadKernels(memory: WebAssembly.Memory): Promise<Kernels | null> {
  try {
    compiled ??= assemble()
    const { exports } = await WebAssembly.instantiate(await compiled, { potluck: { memory } })
    return exports as unknown as Kernels // what the text above exports
  } catch (error) {
    if (error instanceof WebAssembly.CompileError) return null
    throw error
  }
}

async function assemble(): Promise<WebAssembly.Module> {
  const { default: load } = await import('wabt')
  const text = (await load()).parseWat('kernels.wat', MODULE_WAT, { simd: true, threads: true })
  const { buffer } = text.toBinary({})
  text.destroy()
  return WebAssembly.compile(new Uint8Array(buffer))
}
