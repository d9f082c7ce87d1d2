import { beforeEach, describe, expect, it } from 'vitest'
import { MemoryFolder, NoFolder } from './fakes.ts'
import { type ReplicaState, ReplicaStore } from './replica.ts'

const FILE = 'run%2F1.replica'

function state(round: number, residual = Float32Array.of(0.1, -2, 3.4e38)): ReplicaState {
  const firstMoment = Float32Array.of(1e-45, -0, round)
  return {
    run: 'run/1',
    volunteer: 'v1',
    round,
    residual,
    optimiser: { firstMoment, secondMoment: Float32Array.of(4, 5, 6), updates: 2 ** 40 },
  }
}

/** Writing waits until it is let go. */
class SlowFolder extends MemoryFolder {
  readonly #held: (() => void)[] = []
  started = 0
  override async write(...args: Parameters<MemoryFolder['write']>) {
    this.started += 1
    await new Promise<void>((go) => this.#held.push(go))
    await super.write(...args)
  }
  letGo(): void {
    this.#held.shift()?.()
  }
  async untilStarted(writes: number): Promise<void> {
    while (this.started < writes) await new Promise((next) => setTimeout(next))
  }
}

let folder: MemoryFolder
let store: ReplicaStore
const noRoom = async () => undefined
const fileBytes = () => folder.files.get(FILE)?.bytes ?? new Uint8Array()

beforeEach(() => {
  folder = new MemoryFolder()
  store = new ReplicaStore(folder, noRoom)
})

describe('a replica', () => {
  it('[P1] reads back bit for bit', async () => {
    expect(await store.save(state(7))).toBe(true)
    expect(await store.load('run/1', 3)).toEqual(state(7))
    expect(folder.names).toEqual([FILE])
  })

  it('[P1] without error feedback and volunteer', async () => {
    const plain = { ...state(7, new Float32Array()), volunteer: undefined }
    await store.save(plain)
    expect(await store.load('run/1', 3)).toEqual(plain)
  })

  it('[P1] has the documented bytes', async () => {
    await store.save(state(7))
    const bytes = fileBytes()
    expect(new TextDecoder().decode(bytes.subarray(0, 8))).toBe('potluckR')
    expect([...bytes.subarray(8, 12)]).toEqual([1, 0, 0, 0])
    // −2 is 0xc0000000, the residual's second value; 6 is 0x40c00000, the last value of all.
    expect([...bytes.subarray(-32, -28)]).toEqual([0, 0, 0, 0xc0])
    expect([...bytes.subarray(-4)]).toEqual([0, 0, 0xc0, 0x40])
  })

  it('[P1] with any one byte changed, or cut anywhere, it reads as null', async () => {
    await store.save(state(7))
    const good = fileBytes()
    for (let i = 0; i < good.length; i++) {
      await folder.write(FILE, [good.with(i, (good[i] ?? 0) ^ 1)])
      expect(await store.load('run/1', 3), `byte ${i}`).toBeNull()
      await folder.write(FILE, [good.slice(0, i)])
      expect(await store.load('run/1', 3), `cut at ${i}`).toBeNull()
    }
    await folder.write(FILE, [good, Uint8Array.of(0)])
    expect(await store.load('run/1', 3)).toBeNull()
  })

  it('[P1] of another run, another size or an older version reads as null', async () => {
    expect(await store.load('run/1', 3)).toBeNull()
    await store.save(state(7))
    expect(await store.load('run/1', 4)).toBeNull()
    await folder.write('run2.replica', [fileBytes()])
    expect(await store.load('run2', 3)).toBeNull()
    await folder.write(FILE, [fileBytes().with(8, 0)])
    expect(await store.load('run/1', 3)).toBeNull()
  })

  it('without storage, nothing is saved and nothing fails', async () => {
    const none = new ReplicaStore(new NoFolder(), noRoom)
    expect(await none.save(state(1))).toBe(false)
    expect(await none.load('run/1', 3)).toBeNull()
    await none.forget('run/1')
  })

  it('forget leaves only the one run', async () => {
    await store.save(state(1))
    await store.save({ ...state(2), run: 'other' })
    await store.forget('run/1')
    expect(folder.names).toEqual([FILE])
    await store.forget(null)
    expect(folder.names).toEqual([])
  })
})

describe('saving', () => {
  it('[P2] one at a time; the latest that waits is next', async () => {
    const slow = new SlowFolder()
    store = new ReplicaStore(slow, noRoom)
    const first = store.save(state(1))
    await slow.untilStarted(1)
    const second = store.save(state(2))
    const third = store.save(state(3))
    expect(await second).toBe(false)
    slow.letGo()
    expect(await first).toBe(true)
    expect((await store.load('run/1', 3))?.round).toBe(1)
    await slow.untilStarted(2)
    slow.letGo()
    expect(await third).toBe(true)
    expect((await store.load('run/1', 3))?.round).toBe(3)
    expect(slow.started).toBe(2)
  })

  it('[P2] forget lets no save of the forgotten run through', async () => {
    const slow = new SlowFolder()
    store = new ReplicaStore(slow, noRoom)
    const first = store.save(state(1))
    await slow.untilStarted(1)
    const second = store.save(state(2))
    const forgotten = store.forget('other')
    slow.letGo()
    expect(await Promise.all([first, second])).toEqual([true, false])
    await forgotten
    expect(slow.names).toEqual([])
  })

  it('[P3] a full disk is cleared once', async () => {
    let cleared = 0
    store = new ReplicaStore(folder, async () => {
      cleared += 1
      folder.capacity = 10_000
    })
    folder.capacity = 50
    expect(await store.save(state(1))).toBe(true)
    expect(cleared).toBe(1)
  })

  it('[P3] without room the older state stays', async () => {
    await store.save(state(1))
    folder.capacity = 50
    expect(await store.save(state(2))).toBe(false)
    expect((await store.load('run/1', 3))?.round).toBe(1)
  })
})
