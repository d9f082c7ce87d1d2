/** How a job in the evaluation process says that it gets on. */

/** At least once in so many tokens. */
export type Beat = () => void

/** Tokens between two beats, at least one sequence. */
export const TOKENS_A_BEAT = 512
