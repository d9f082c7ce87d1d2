import { expect, it } from 'vitest'
import { randomFrom } from '../../shared/model/random.ts'
import { Agenda } from './agenda.ts'

it('an agenda gives the earliest first, and of equal times the first that came', () => {
  const random = randomFrom('agenda')
  const agenda = new Agenda()
  const wanted = Array.from({ length: 500 }, (_, order) => ({ time: Math.floor(random() * 50), order }))
  const got: { time: number; order: number }[] = []
  for (const item of wanted) agenda.add(item.time, () => void got.push(item))
  for (let next = agenda.take(); next !== null; next = agenda.take()) void next.act()
  expect(got).toEqual(wanted.sort((a, b) => a.time - b.time || a.order - b.order))
  expect(agenda.next).toBeNull()
})
