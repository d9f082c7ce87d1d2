/** `corpus add | list | remove`: text to train on. */
import type { Command } from './command.ts'

export const corpusCommand: Command = {
  summary: 'Texts to train on',
  actions: {},
}
