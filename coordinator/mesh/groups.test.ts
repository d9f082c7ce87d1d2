/** Who is grouped with whom, with a clock and sockets of the test's own: rules M1 to M5. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MESH_LIMITS } from '../../shared/protocol/mesh.ts'
import { Groups } from './groups.ts'
import { HandClock } from './testing.ts'

const LINK_MS = 1_000 * MESH_LIMITS.linkSeconds
/** Longer than those who come together are waited for. */
const MOMENT_MS = 1_000

interface Told {
  readonly to: string
  readonly event: string
  readonly message: Record<string, unknown>
}

class Hall {
  readonly clock = new HandClock()
  readonly told: Told[] = []
  readonly busy = new Set<string>()
  readonly speeds = new Map<string, number>()
  readonly groups: Groups
  quiet = false

  constructor(size = 3, members: Record<string, number> = {}) {
    this.groups = new Groups({
      clock: this.clock,
      tell: (to, event, message) => this.told.push({ to, event, message: { ...message } }),
      iceServers: (volunteer) => [{ urls: 'stun:stun.test', username: volunteer }],
      isBusy: (group) => this.busy.has(group),
      isQuiet: () => this.quiet,
      tokensPerSecond: (volunteer) => this.speeds.get(volunteer) ?? 0,
      changed: () => undefined,
    })
    this.groups.serve({ id: 'run', size })
    for (const [member, speed] of Object.entries(members)) {
      this.speeds.set(member, speed)
      this.groups.agree(member)
    }
  }

  moment(): Promise<void> {
    return this.clock.pass(MOMENT_MS)
  }

  /** Sorted names of the members of all groups. */
  get rooms(): string[] {
    return this.groups
      .all()
      .map(({ members }) => [...members].sort().join(''))
      .sort()
  }

  /** Everybody in a group has a channel to everybody in it, except these pairs. */
  link(...except: string[]): void {
    this.linkAt({}, ...except)
  }

  /** With lines of these bytes a second. */
  linkAt(rates: Record<string, number>, ...except: string[]): void {
    const apart = (a: string, b: string) => except.includes(a + b) || except.includes(b + a)
    for (const { id, members } of this.groups.all()) {
      for (const member of members) {
        const others = members.flatMap((b, at) => (b === member || apart(member, b) ? [] : [at]))
        this.groups.linked(member, id, others, rates[member] ?? null)
      }
    }
  }

  idOf(volunteer: string): string {
    return this.groups.of(volunteer)?.id ?? 'none'
  }

  heard(volunteer: string): string[] {
    return this.told.filter(({ to }) => to === volunteer).map(({ event }) => event)
  }
}

const FOUR = { a: 40, b: 30, c: 20, d: 10 }

describe('a group', () => {
  test('is told to each member with its place and its own way to the others (M2)', async () => {
    const hall = new Hall(3, { a: 3, b: 2, c: 1 })
    await hall.moment()
    const id = hall.idOf('a')
    expect(hall.told).toEqual(
      ['a', 'b', 'c'].map((to, index) => ({
        ...{ to, event: 'group' },
        message: {
          ...{ group: id, run: 'run', size: 3, index },
          iceServers: [{ urls: 'stun:stun.test', username: to }],
        },
      })),
    )
    expect(hall.groups.of('a')?.linked).toBe(false)
    hall.link()
    expect(hall.groups.of('a')?.linked).toBe(true)
  })

  test.each([
    [2, ['ab', 'cd']],
    [3, ['abc']],
    [4, ['abcd']],
    [8, ['abcd']],
  ])('has at most %i members, of like speed (M2)', async (size, rooms) => {
    const hall = new Hall(size, { d: 10, b: 30, a: 40, c: 20 })
    await hall.moment()
    expect(hall.rooms).toEqual(rooms)
  })

  test('is of two at least (M2)', async () => {
    const hall = new Hall(4, { a: 1 })
    await hall.moment()
    expect(hall.rooms).toEqual([])
    hall.groups.agree('b')
    await hall.moment()
    expect(hall.rooms).toEqual(['ab'])
  })

  test.each([null, { id: 'run', size: 1 }])(
    'is there only in a run whose groups are larger than one: %o (M1)',
    async (run) => {
      const hall = new Hall(2, FOUR)
      await hall.moment()
      hall.link()
      hall.groups.serve(run)
      await hall.moment()
      expect(hall.rooms).toEqual([])
      expect(hall.heard('a')).toEqual(['group', 'groupOver'])
      for (const _ of [1, 2, 3]) hall.groups.serve(run)
      expect(hall.clock.waiting).toBe(0) // nothing to form
    },
  )

  test('stays when it is told again which run is served, and ends with another (M3)', async () => {
    const hall = new Hall(2, { a: 2, b: 1 })
    await hall.moment()
    const id = hall.idOf('a')
    hall.groups.serve({ id: 'run', size: 2 })
    await hall.moment()
    expect(hall.idOf('a')).toBe(id)
    hall.groups.serve({ id: 'next', size: 2 })
    await hall.moment()
    expect(hall.idOf('a')).not.toBe(id)
    expect(hall.rooms).toEqual(['ab'])
  })
})

describe('channels', () => {
  test('that all open make a group stay (M3)', async () => {
    const hall = new Hall(3, { a: 3, b: 2, c: 1 })
    await hall.moment()
    const id = hall.idOf('a')
    hall.link()
    await hall.clock.pass(10 * LINK_MS)
    for (const _ of [1, 2, 3]) hall.groups.regroup()
    expect(hall.idOf('a')).toBe(id)
    expect(hall.heard('a')).toEqual(['group'])
  })

  test('are open when both ends say so (M3)', async () => {
    const hall = new Hall(2, { a: 2, b: 1 })
    await hall.moment()
    hall.groups.linked('a', hall.idOf('a'), [1], null)
    expect(hall.groups.of('a')?.linked).toBe(false)
    hall.groups.linked('a', 'another group', [1], null)
    hall.groups.linked('a stranger', hall.idOf('a'), [0, 1], null)
    expect(hall.groups.of('a')?.linked).toBe(false)
    hall.groups.linked('b', hall.idOf('a'), [0], null)
    expect(hall.groups.of('a')?.linked).toBe(true)
  })

  test('that do not open in time end the group; the pair is not put together again (M3)', async () => {
    const hall = new Hall(4, FOUR)
    await hall.moment()
    hall.link('ad')
    await hall.clock.pass(LINK_MS + MOMENT_MS)
    expect(hall.heard('d')).toEqual(['group', 'groupOver'])
    expect(hall.rooms).toEqual(['abc'])
    hall.link()
    for (const _ of [1, 2, 3]) {
      hall.groups.regroup()
      await hall.moment()
    }
    expect(hall.rooms).toEqual(['abc'])
  })

  test('that did not open once are tried again when one of the two came anew (M3)', async () => {
    const hall = new Hall(2, { a: 2, b: 1 })
    await hall.moment()
    await hall.clock.pass(LINK_MS + MOMENT_MS)
    expect(hall.rooms).toEqual([])
    hall.groups.leave('b')
    hall.groups.agree('b')
    await hall.moment()
    expect(hall.rooms).toEqual(['ab'])
  })

  test('that break end the group after its exchange (M4)', async () => {
    const hall = new Hall(2, { a: 2, b: 1 })
    await hall.moment()
    const id = hall.idOf('a')
    hall.link()
    hall.busy.add(id)
    hall.groups.linked('b', id, [], null)
    expect(hall.groups.get(id)?.ending).toBe('A channel broke.')
    hall.busy.clear()
    hall.groups.idle(id)
    expect(hall.groups.get(id)).toBeNull()
    await hall.moment()
    expect(hall.rooms).toEqual(['ab'])
  })
})

describe('leaving', () => {
  test('ends the group at once, and the others are grouped anew (M1 M4)', async () => {
    const hall = new Hall(3, { a: 3, b: 2, c: 1 })
    await hall.moment()
    hall.link()
    hall.groups.leave('a')
    expect(hall.groups.of('a')).toBeNull()
    expect(hall.heard('b')).toEqual(['group', 'groupOver'])
    await hall.moment()
    expect(hall.rooms).toEqual(['bc'])
    expect(hall.heard('a')).toEqual(['group', 'groupOver'])
  })

  test('during an exchange leaves the others theirs; who left is in none at once (M1 M4)', async () => {
    const hall = new Hall(3, { a: 3, b: 2, c: 1 })
    await hall.moment()
    hall.link()
    const id = hall.idOf('a')
    hall.busy.add(id)
    hall.groups.leave('a')
    expect(hall.groups.of('a')).toBeNull()
    expect(hall.groups.of('b')?.id).toBe(id)
    expect(hall.groups.of('b')?.ending).not.toBeNull()
    expect(hall.groups.signal('b', id, 0, '1:{}')).toBe(false)
    expect(hall.groups.signal('a', id, 1, '1:{}')).toBe(false)
    expect(hall.groups.signal('b', id, 2, '1:{}')).toBe(true)
    hall.groups.regroup()
    expect(hall.groups.get(id)).not.toBeNull()
    hall.busy.clear()
    hall.groups.idle(id)
    await hall.moment()
    expect(hall.rooms).toEqual(['bc'])
  })

  test('and coming back in the middle of an exchange waits for its end (M4)', async () => {
    const hall = new Hall(2, { a: 2, b: 1 })
    await hall.moment()
    hall.link()
    const id = hall.idOf('a')
    hall.busy.add(id)
    hall.groups.leave('a')
    hall.groups.agree('a')
    await hall.moment()
    expect(hall.rooms).toEqual(['ab'])
    hall.busy.clear()
    hall.groups.idle(id)
    await hall.moment()
    expect(hall.rooms).toEqual(['ab'])
    expect(hall.idOf('a')).not.toBe(id)
  })

  test('before there was a group is no matter (M1)', async () => {
    const hall = new Hall(2, { a: 2, b: 1 })
    hall.groups.leave('a')
    hall.groups.leave('nobody')
    await hall.moment()
    expect(hall.rooms).toEqual([])
  })

  test('because nobody trusts them is for good (X6)', async () => {
    const hall = new Hall(2, { a: 3, b: 2, c: 1 })
    await hall.moment()
    hall.groups.distrust('a')
    hall.groups.agree('a')
    await hall.moment()
    expect(hall.rooms).toEqual(['bc'])
  })
})

describe('a round that opens', () => {
  test('puts small groups together where that makes larger ones (M4)', async () => {
    const hall = new Hall(4, { a: 4, b: 3 })
    await hall.moment()
    for (const late of ['c', 'd']) hall.groups.agree(late)
    await hall.moment()
    hall.link()
    expect(hall.rooms).toEqual(['ab', 'cd'])
    hall.groups.regroup()
    await hall.moment()
    expect(hall.rooms).toEqual(['abcd'])
  })

  test('happens at once while no round is under way (M4)', async () => {
    const hall = new Hall(3, { a: 3, b: 2 })
    hall.quiet = true
    await hall.moment()
    hall.link()
    expect(hall.rooms).toEqual(['ab'])
    hall.groups.agree('c')
    await hall.moment()
    await hall.moment()
    expect(hall.rooms).toEqual(['abc'])
  })

  test('takes in who is in none (M4)', async () => {
    const hall = new Hall(3, { a: 4, b: 3 })
    await hall.moment()
    hall.link()
    hall.groups.agree('c')
    await hall.moment()
    expect(hall.rooms).toEqual(['ab'])
    hall.groups.regroup()
    await hall.moment()
    expect(hall.rooms).toEqual(['abc'])
  })

  test('leaves groups as they are where others could not meet them, round after round (M3 M4)', async () => {
    const hall = new Hall(4, FOUR)
    await hall.moment()
    hall.link('da', 'db', 'dc')
    await hall.clock.pass(LINK_MS + MOMENT_MS)
    hall.link()
    const id = hall.idOf('a')
    for (const _ of [1, 2, 3]) {
      hall.groups.regroup()
      await hall.moment()
    }
    expect([hall.rooms, hall.idOf('a')]).toEqual([['abc'], id])
  })

  test('leaves full groups, and those that exchange (M4)', async () => {
    const hall = new Hall(3, { a: 9, b: 8, c: 7, d: 6, e: 5 })
    await hall.moment()
    hall.link()
    const [full, small] = [hall.idOf('a'), hall.idOf('d')]
    hall.groups.agree('f')
    await hall.moment()
    hall.busy.add(small)
    hall.groups.regroup()
    await hall.moment()
    expect([hall.idOf('a'), hall.idOf('d'), hall.rooms]).toEqual([full, small, ['abc', 'de']])
    hall.busy.clear()
    hall.groups.regroup()
    await hall.moment()
    expect([hall.idOf('a'), hall.rooms]).toEqual([full, ['abc', 'def']])
  })
})

describe('lines', () => {
  const MIXED = { a: 8, b: 7, c: 6, d: 5 }
  const RATES = { a: 1e6, b: 1e5, c: 1.2e6, d: 0.9e5 }

  test('that are alike come together, once they are known, and stay (M2 M4)', async () => {
    const hall = new Hall(2, MIXED)
    await hall.moment()
    expect(hall.rooms).toEqual(['ab', 'cd']) // by tokens a second
    hall.linkAt(RATES)
    hall.groups.regroup()
    await hall.moment()
    expect(hall.rooms).toEqual(['ac', 'bd'])
    hall.linkAt(RATES)
    const id = hall.idOf('a')
    for (let round = 0; round < 3; round++) {
      hall.groups.regroup()
      await hall.moment()
    }
    expect([hall.rooms, hall.idOf('a')]).toEqual([['ac', 'bd'], id])
  })

  test('decide before tokens a second where groups are formed; who was never measured is in the middle (M2)', async () => {
    const hall = new Hall(2, MIXED)
    await hall.moment()
    hall.linkAt({ a: 1e5, b: 1.1e5, c: 1.5e6 })
    hall.groups.agree('e')
    hall.groups.serve(null)
    hall.groups.serve({ id: 'another run', size: 5 })
    await hall.moment()
    expect(hall.groups.of('a')?.members).toEqual(['c', 'a', 'b', 'd', 'e'])
  })

  test('are left as they are where that would not part them, or in the middle of an exchange (M4)', async () => {
    const hall = new Hall(2, MIXED)
    await hall.moment()
    hall.linkAt({ ...RATES, c: 1e5 }) // one fast line of four
    const id = hall.idOf('a')
    hall.groups.regroup()
    await hall.moment()
    expect(hall.idOf('a')).toBe(id)
    hall.linkAt(RATES)
    hall.busy.add(id)
    hall.groups.regroup()
    await hall.moment()
    expect([hall.idOf('a'), hall.rooms]).toEqual([id, ['ab', 'cd']])
  })
})

describe('a signal', () => {
  test('goes to the member it is meant for, as it is (M5)', async () => {
    const hall = new Hall(2, { a: 2, b: 1 })
    await hall.moment()
    expect(hall.groups.signal('b', hall.idOf('a'), 0, 'not looked into')).toBe(true)
    expect(hall.told.at(-1)).toEqual({
      ...{ to: 'a', event: 'relayed' },
      message: { group: hall.idOf('a'), from: 1, signal: 'not looked into' },
    })
  })

  test('goes nowhere else (M5)', async () => {
    const hall = new Hall(2, FOUR)
    await hall.moment()
    const before = hall.told.length
    const id = hall.idOf('a')
    expect(hall.groups.signal('c', id, 0, '')).toBe(false) // of another group
    expect(hall.groups.signal('a stranger', id, 0, '')).toBe(false)
    expect(hall.groups.signal('a', id, 0, '')).toBe(false) // to itself
    expect(hall.groups.signal('a', id, 5, '')).toBe(false)
    expect(hall.groups.signal('a', 'another group', 1, '')).toBe(false)
    hall.groups.serve(null)
    expect(hall.groups.signal('a', id, 1, '')).toBe(false)
    expect(hall.told.slice(before).filter(({ event }) => event === 'relayed')).toEqual([])
  })
})

const who = fc.constantFrom(...'abcdefg')
const event = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('agree' as const), who }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('leave' as const, 'distrust' as const), who }) },
  {
    weight: 4,
    arbitrary: fc.record({
      ...{ do: fc.constant('link' as const), who, others: fc.subarray([0, 1, 2, 3]) },
      rate: fc.constantFrom(null, 0, 1_000, 2_000, 1e6),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom('meet' as const, 'regroup' as const, 'busy' as const), who }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('pass' as const), who, ms: fc.constantFrom(100, 400, LINK_MS) }),
  },
)

test('whatever happens, nobody is in two groups, in one against their will, or alone in one (M1 M2)', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 2, max: 4 }),
      fc.array(event, { maxLength: 50 }),
      async (size, events) => {
        const hall = new Hall(size)
        const { groups } = hall
        const willing = new Set<string>()
        const distrusted = new Set<string>()
        for (const one of events) {
          switch (one.do) {
            case 'agree':
              groups.agree(one.who)
              if (!distrusted.has(one.who)) willing.add(one.who)
              break
            case 'leave':
            case 'distrust':
              groups[one.do](one.who)
              willing.delete(one.who)
              if (one.do === 'distrust') distrusted.add(one.who)
              break
            case 'link':
              groups.linked(one.who, hall.idOf(one.who), one.others, one.rate)
              break
            case 'meet':
              hall.link()
              break
            case 'regroup':
              groups.regroup()
              break
            case 'busy': {
              const id = hall.idOf(one.who)
              if (hall.busy.delete(id)) groups.idle(id)
              else hall.busy.add(id)
              break
            }
            case 'pass':
              await hall.clock.pass(one.ms)
          }
          const seated = groups.all().flatMap(({ members }) => members)
          expect(new Set(seated).size).toBe(seated.length)
          for (const { members } of groups.all()) {
            expect(members.length).toBeGreaterThan(1)
            expect(members.length).toBeLessThanOrEqual(size)
          }
          for (const volunteer of 'abcdefg')
            if (groups.of(volunteer)) expect(willing.has(volunteer)).toBe(true)
          for (const { id, members } of groups.all())
            if (!hall.busy.has(id)) for (const member of members) expect(willing.has(member)).toBe(true)
        }
        for (const id of [...hall.busy]) {
          hall.busy.delete(id)
          groups.idle(id)
        }
        groups.close()
        expect(hall.clock.waiting).toBe(0)
      },
    ),
    { numRuns: 1_000 },
  )
})
