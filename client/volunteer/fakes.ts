/** Views for this folder's tests: a run in its third round and a tab that has just opened. */
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import type { RunView } from '../../shared/protocol/run.ts'
import type { SwarmView } from '../swarm/view.ts'

export const fakeRun = (changes: Partial<RunView> = {}): RunView => ({
  id: 'run_12345678',
  config: { ...defaultRunConfig('nano'), quorum: 3, replicas: 4 },
  status: 'running',
  problem: null,
  phase: 'training',
  round: 3,
  era: 0,
  deadlineAt: null,
  extensions: 0,
  present: 2,
  leased: 1,
  accepted: 1,
  parameters: 172_480,
  tokens: 204_800,
  contributors: 5,
  weights: null,
  manifest: null,
  initialValLoss: null,
  initialBitsPerByte: null,
  history: [],
  evaluation: null,
  tasks: [],
  samples: [],
  now: 0,
  ...changes,
})

export const fakeView = (changes: Partial<SwarmView> = {}): SwarmView => ({
  state: { kind: 'ready' },
  contributing: false,
  finishing: false,
  connected: true,
  mesh: { agreed: false, group: null, exchanged: 0, sent: 0, received: 0 },
  asOf: null,
  run: fakeRun(),
  backend: null,
  me: {
    name: null,
    acceptedContributions: 0,
    tokens: 0,
    steps: 0,
    tokensPerSecond: null,
    utilisation: null,
    slices: 0,
    bytesUp: 0,
    bytesDown: 0,
  },
  compiling: null,
  upload: null,
  receipts: [],
  log: [],
  ...changes,
})
