import { describe, expect, it } from 'vitest'
import { hashPassword, hashSecret, newId, newSecret, passwordMatches } from './secrets.ts'

describe('secrets', () => {
  it('keep a password as a hash that only this password matches', async () => {
    const stored = await hashPassword('correct horse battery')
    expect(stored).not.toContain('horse')
    expect(await passwordMatches('correct horse battery', stored)).toBe(true)
    expect(await passwordMatches('correct horse batterz', stored)).toBe(false)
    expect(await passwordMatches('', stored)).toBe(false)
  })

  it('hash one password differently each time', async () => {
    expect(await hashPassword('twice the same')).not.toBe(await hashPassword('twice the same'))
  })

  it('take one password in two Unicode spellings for the same', async () => {
    expect(await passwordMatches('cre\u0300me bru\u0302le\u0301e', await hashPassword('crème brûlée'))).toBe(
      true,
    )
  })

  it.each(['', 'scrypt', 'scrypt$$', 'plain$YQ$YQ', 'scrypt$YQ$YQ'])(
    'match nothing against the damaged hash "%s"',
    async (stored) => {
      expect(await passwordMatches('anything', stored)).toBe(false)
    },
  )

  it('are new each time, and fit where they go', () => {
    expect(newSecret()).not.toBe(newSecret())
    expect(newSecret()).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(newId()).toMatch(/^[0-9a-f]{24}$/)
    // SHA-256 of "abc", from FIPS 180-2, appendix B.1.
    expect(hashSecret('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  })
})
