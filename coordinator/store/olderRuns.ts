/** Runs from before rounds had fragments: shown for what they were, and not gone on with. */

/** What such a run did without being asked. */
const CHOICES = {
  fragments: 1,
  codec: 'f16',
  downlink: 'f32',
  errorFeedback: 0,
  overlap: false,
  strict: false,
} as const

export const OLDER_RUN =
  'This run was made by an older version of Potluck, and this one cannot go on with it. Create a new run; the weights of the old one stay in the data folder.'

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/** Its machine stood on one base. */
export const isOlderMachine = (machine: unknown): boolean =>
  isObject(machine) && 'base' in machine && !('fragments' in machine)

/** A config with what was not yet to be chosen; anything else as it is. */
export const withChoices = (config: unknown): unknown =>
  isObject(config) && !('codec' in config) ? { ...CHOICES, ...config } : config
