/**
 * What the volunteer page shows: one union of states, each with only the fields it has. client/swarm writes it,
 * client/volunteer draws it. facts about wording and order live in the page's strings table.
 */
import type { Backend } from '../../shared/engine/engine.ts'
import type { Receipt, RunView, WaitReason } from '../../shared/protocol/run.ts'
import type { MeshState } from '../mesh/mesh.ts'

/** What this tab is doing now. Times are Unix milliseconds. */
export type SwarmState =
  | { kind: 'ready' }
  | { kind: 'insecure'; url: string }
  | { kind: 'unsupported'; missing: string }
  | { kind: 'connecting'; attempt: number; retryAt: number | null }
  | { kind: 'loading'; doneBytes: number; totalBytes: number }
  | { kind: 'testing'; backend: Backend | null }
  | { kind: 'waiting'; reason: WaitReason }
  /** All steps of a lease are taken, and its round has not begun. */
  | { kind: 'ahead'; round: number }
  | {
      kind: 'training'
      round: number
      step: number
      steps: number
      tokensPerSecond: number
      loss: number | null
      deadlineAt: number | null
    }
  | { kind: 'sending'; round: number; doneBytes: number; totalBytes: number }
  | { kind: 'checking'; round: number }
  | { kind: 'paused'; heldLease: boolean }
  | { kind: 'stopped'; contributions: number; tokens: number }
  | { kind: 'removed'; reason: string }
  /** `backend` is gone for the `restarts`th time; `next`, the same or another, is being started in its place. */
  | { kind: 'engine-lost'; backend: Backend; next: Backend; restarts: number; heldLease: boolean }
  | { kind: 'other-tab' }
  | { kind: 'failed'; code: string; message: string }

/** What a step takes on a backend. */
interface StepNeeds {
  /** Sequences computed at once: the fastest number of those that fit the memory. */
  microBatch: number
  /** Bytes at the peak of a step, predicted. */
  peakBytes: number
}

/** One backend's short measurement, and why the chosen one was chosen. */
export interface BackendChoice extends StepNeeds {
  backend: Backend
  tokensPerSecond: number
  /** One line each, e.g. `webgpu: software adapter, runs on the CPU, not measured`. */
  measurements: (StepNeeds & { backend: Backend; tokensPerSecond: number | null; note: string })[]
}

/** The backend in use. */
export interface CurrentBackend extends BackendChoice {
  /** Why WebGPU runs the portable engine and not the compiled one. */
  refused?: string
  /** The backend before it, which was lost again and again; then `measurements` did not choose this one. */
  fellBackFrom?: Backend
}

export interface SwarmView {
  state: SwarmState
  /** True between the click on Start and the end. */
  contributing: boolean
  /** "Finish this round, then stop" was asked. */
  finishing: boolean
  /** Socket state, for the little line about live data. */
  connected: boolean
  /** Last time anything arrived, for "as of". */
  asOf: number | null
  run: RunView | null
  backend: CurrentBackend | null
  me: {
    name: string | null
    /** Totals over all visits, from the coordinator, plus what happened since. */
    acceptedContributions: number
    tokens: number
    /** Inner steps of this visit. */
    steps: number
    tokensPerSecond: number | null
    /** Share of this visit's time, pauses not counted, that went into inner steps. */
    utilisation: number | null
    /** Slices of evaluations that this tab measured in this visit. */
    slices: number
    /** Contributions sent and blobs received in this visit. */
    bytesUp: number
    bytesDown: number
  }
  /** This tab among others. */
  mesh: MeshState
  /** Shaders being compiled; null when none are. */
  compiling: { done: number; of: number } | null
  /** A contribution on its way while the tab does something else. */
  upload: { round: number; doneBytes: number; totalBytes: number } | null
  /** Newest first, at most 20. */
  receipts: (Receipt & { at: number })[]
  /** State changes with their causes, newest first, at most 100. */
  log: { at: number; text: string }[]
}

/** The buttons. Every one may be pressed at any time; those that make no sense do nothing. */
export interface SwarmControls {
  start(): void
  pause(): void
  resume(): void
  /** Toggles. */
  finishRound(): void
  stop(): void
  /** Whether this tab may meet other volunteers' tabs, who then see its IP address. */
  meet(on: boolean): void
}
