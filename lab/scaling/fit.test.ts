/** The expected numbers are the paper's own; see paper.ts for the tables. */
import { describe, expect, it } from 'vitest'
import { fitAlone, fitJointly, leaveLargestOut, predicted, type Sample } from './fit.ts'
import { HELD_OUT_LOSS, JOINT_LAWS, LOSS_LAWS, LOSSES, METHODS, type Method, replicasOf } from './paper.ts'

const samplesOf = (method: Method): Sample[] =>
  LOSSES.map(([n, losses]) => ({ n, m: replicasOf(method), y: losses[METHODS.indexOf(method)] ?? 0 }))
const diloco = METHODS.filter((method) => method !== 'data parallel')
const all = diloco.flatMap(samplesOf)

const near = (value: number, wanted: number) => expect(Math.abs(value / wanted - 1)).toBeLessThan(0.01)

describe('the fit to the paper’s losses', () => {
  it.each(METHODS)('gives table 7’s coefficients within 1 %%: %s', (method) => {
    const law = fitAlone(samplesOf(method))
    near(law.a, LOSS_LAWS[method].a)
    near(law.alpha, LOSS_LAWS[method].alpha)
  })

  it('gives table 10’s joint coefficients within 1 %', () => {
    const law = fitJointly(all)
    near(law.a, JOINT_LAWS.loss.a)
    near(law.alpha, JOINT_LAWS.loss.alpha)
    near(law.beta, JOINT_LAWS.loss.beta)
  })

  it.each(diloco)(
    'misses the largest size, held out, by what table 11 has, give or take 0.003: %s',
    (method) => {
      const known = method as keyof typeof HELD_OUT_LOSS.alone // data parallelism is not among them
      const alone = leaveLargestOut(samplesOf(method), fitAlone).missed[0]?.residual
      expect(Math.abs((alone ?? 1) - HELD_OUT_LOSS.alone[known])).toBeLessThan(0.003)
      const jointly = leaveLargestOut(all, fitJointly).missed.find(({ m }) => m === replicasOf(method))
      expect(Math.abs((jointly?.residual ?? 1) - HELD_OUT_LOSS.jointly[known])).toBeLessThan(0.003)
    },
  )
})

describe('a fit', () => {
  it('finds a law that made its samples', () => {
    const law = { a: 3, alpha: -0.5, beta: 0.25 }
    const samples = [10, 100, 1_000].flatMap((n) => [1, 4].map((m) => ({ n, m, y: predicted(law, n, m) })))
    const found = fitJointly(samples)
    expect([found.a, found.alpha, found.beta]).toEqual([3, -0.5, 0.25].map((x) => expect.closeTo(x, 10)))
  })

  it('needs two sizes, and two numbers of replicas', () => {
    expect(() => fitAlone([{ n: 10, m: 1, y: 2 }])).toThrow(RangeError)
    expect(() =>
      fitJointly([
        { n: 10, m: 1, y: 2 },
        { n: 20, m: 1, y: 1 },
        { n: 40, m: 1, y: 0.6 },
      ]),
    ).toThrow(RangeError)
  })
})
