/** What an engine's functions share: one replica's state on one backend. */
import type { ModelConfig } from '../../model/config.ts'
import type { OpenBackend } from './backend.ts'
import type { Constants } from './block.ts'
import type { Optimiser } from './optimiser.ts'

export interface Replica {
  readonly config: ModelConfig
  readonly open: OpenBackend
  readonly optimiser: Optimiser
  readonly constants: Constants
}
