/** What every folder does: run over OPFS in a browser and over the tests' own in Node. */
import { describe, expect, it } from 'vitest'
import type { Folder } from './folder.ts'

export function folderContract(name: string, makeEmpty: () => Promise<Folder>): void {
  describe(name, () => {
    const read = async (folder: Folder, file: string) => {
      const blob = await folder.open(file)
      return blob && [...new Uint8Array(await blob.arrayBuffer())]
    }

    it('gives back what was written, in one piece', async () => {
      const folder = await makeEmpty()
      expect(await folder.usable()).toBe(true)
      await folder.write('a', [Uint8Array.of(9, 1, 2).subarray(1), Uint8Array.of(), Uint8Array.of(3)])
      expect(await read(folder, 'a')).toEqual([1, 2, 3])
    })

    it('replaces a file whole, also by a shorter one', async () => {
      const folder = await makeEmpty()
      await folder.write('a', [Uint8Array.of(1, 2, 3)])
      await folder.write('a', [Uint8Array.of(4)])
      expect(await read(folder, 'a')).toEqual([4])
    })

    it('has no file that was not written or was removed', async () => {
      const folder = await makeEmpty()
      expect(await folder.open('a')).toBeNull()
      await folder.remove('a')
      await folder.write('a', [Uint8Array.of(1)])
      await folder.remove('a')
      expect(await folder.open('a')).toBeNull()
      expect(await folder.list()).toEqual([])
    })

    it('lists names, lengths and times of writing', async () => {
      const folder = await makeEmpty()
      await folder.write('a', [Uint8Array.of(1, 2)])
      await folder.write('b.used', [])
      const entries = (await folder.list()).sort((x, y) => x.name.localeCompare(y.name))
      expect(entries.map(({ name, bytes }) => [name, bytes])).toEqual([
        ['a', 2],
        ['b.used', 0],
      ])
      const [a, b] = entries.map(({ modified }) => modified)
      expect(b).toBeGreaterThanOrEqual(a ?? Number.NaN)
    })
  })
}
