/**
 * A blob's seal: 256 bits that tell whether bytes whose SHA-256 has been verified once are still the same, at about twenty times
 * the speed of SHA-256. It finds what disks and memory do to bytes, and is no defence against somebody who may write to the
 * coordinator's own folders: nothing but this process's memory holds seals, and the blob's name stays its SHA-256.
 *
 * The bytes, each slice filled up with zeros to a multiple of 16, are two rows of little endian 64-bit numbers x; in each
 * row a ← a + x, b ← b + a modulo 2^64 (Fletcher's sum). Every change of less than 8 bytes, and any swap, changes it.
 */

/** State in memory: the two a, then the two b. */
export const SEAL_BYTES = 32
export const SEALED_AT_ONCE = 16

/** From an address, so many sixteens of bytes, into the state at an address. */
export type SealKernel = (from: number, sixteens: number, state: number) => void

export const SEAL_WAT = `
(func (export "seal") (param $from i32) (param $sixteens i32) (param $state i32)
  (local $a v128) (local $b v128)
  (local.set $a (v128.load (local.get $state)))
  (local.set $b (v128.load offset=16 (local.get $state)))
  (if (local.get $sixteens) (then
    (loop $next
      (local.set $a (i64x2.add (local.get $a) (v128.load (local.get $from))))
      (local.set $b (i64x2.add (local.get $b) (local.get $a)))
      (local.set $from (i32.add (local.get $from) (i32.const 16)))
      (br_if $next (local.tee $sixteens (i32.sub (local.get $sixteens) (i32.const 1)))))))
  (v128.store (local.get $state) (local.get $a))
  (v128.store offset=16 (local.get $state) (local.get $b)))`

/** The kernel with the memory that it works on, and where in it one state may lie. */
export interface Sealer {
  readonly seal: SealKernel
  readonly memory: WebAssembly.Memory
  readonly state: number
}

/** One blob's seal, slice by slice; the slices lie in the sealer's memory, with room after them for the zeros. */
export class Seal {
  readonly #sealer: Sealer
  readonly #state = new Uint8Array(SEAL_BYTES)

  constructor(sealer: Sealer) {
    this.#sealer = sealer
  }

  update(bytes: Uint8Array): void {
    const { seal, memory, state } = this.#sealer
    if (bytes.buffer !== memory.buffer) throw new RangeError('Only bytes in the shared memory can be sealed.')
    const sixteens = Math.ceil(bytes.length / SEALED_AT_ONCE)
    const end = bytes.byteOffset + bytes.length
    new Uint8Array(memory.buffer, end, SEALED_AT_ONCE * sixteens - bytes.length).fill(0)
    const shared = new Uint8Array(memory.buffer, state, SEAL_BYTES)
    shared.set(this.#state)
    seal(bytes.byteOffset, sixteens, state)
    this.#state.set(shared)
  }

  digest(): string {
    return Buffer.from(this.#state).toString('hex')
  }
}
