import { describe, expect, it } from 'vitest'
import { readConfig } from './config.ts'

describe('the configuration', () => {
  it('has defaults for everything', () => {
    expect(readConfig({ HOME: '/' })).toEqual({
      data: './data',
      ice: { stun: [], turn: null },
      host: '127.0.0.1',
      port: 8080,
      tls: null,
      publicUrl: null,
      trustedProxies: 0,
      metricsToken: null,
      hub: 'https://huggingface.co',
      heldOutTokens: 25_600,
      log: 'warn',
    })
  })

  it.each([
    ['POTLUCK_PORT', '70000'],
    ['POTLUCK_PORT', 'http'],
    ['POTLUCK_HELD_OUT_TOKENS', '0'],
    ['POTLUCK_LOG', 'loud'],
    ['POTLUCK_PUBLIC_URL', 'example.org'],
    ['POTLUCK_TLS_CERT', 'cert.pem'],
    ['POTLUCK_METRICS_TOKEN', 'too short'],
    ['POTLUCK_METRICS_TOKEN', 'a space between words'],
    ['POTLUCK_DATTA', '/tmp'],
  ])('refuses %s=%s by name', (name, value) => {
    expect(() => readConfig({ [name]: value })).toThrow(
      expect.objectContaining({ code: 'bad-config', message: expect.stringContaining(name) }),
    )
  })

  it('names all faults at once', () => {
    expect(() => readConfig({ POTLUCK_PORT: '-1', POTLUCK_LOG: '' })).toThrow(/POTLUCK_PORT.*POTLUCK_LOG/)
  })
})
