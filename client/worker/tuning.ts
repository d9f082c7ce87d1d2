/**
 * Where the page keeps what the compiled engine has measured of the GPU (shared/engine/compiled/tuned.ts): a Worker has no
 * storage of this kind. The engine itself judges whether the text can be believed.
 */

const KEY = 'potluck/tuned'

type Store = Pick<Storage, 'getItem' | 'setItem'>

export function recallTuning(storage: Store | null = safeStorage()): string | null {
  try {
    return storage?.getItem(KEY) ?? null
  } catch {
    return null
  }
}

export function keepTuning(text: string, storage: Store | null = safeStorage()): void {
  try {
    storage?.setItem(KEY, text)
  } catch {
    // Full or forbidden storage costs a second measurement, no more.
  }
}

/** Null where the browser refuses storage, or there is none: reading the property throws where cookies are blocked. */
export function safeStorage(): Storage | null {
  try {
    return globalThis.localStorage ?? null
  } catch {
    return null
  }
}
