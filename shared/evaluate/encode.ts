/**
 * A request as a sequence of a model, as the harness's TemplateLM._encode_pair and HFLM._loglikelihood_tokens make
 * one: context and continuation are encoded together, so that the border between them is the tokenizer's, and what
 * does not fit is cut off on the left.
 */
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { stripRight } from './python.ts'
import type { Request } from './tasks.ts'

export interface EncodedRequest {
  /** Of context and continuation, no more than the model's window and one. */
  readonly ids: Uint16Array
  /** How many of them, at the end, are the continuation and are scored; each has at least one before it. */
  readonly scored: number
}

type Encoder = Pick<Tokenizer, 'encode' | 'endOfText'>

/**
 * White space at the context's end moves to the continuation. An empty context is the end-of-text token. A
 * continuation longer than the window is scored by its last `window` tokens (the harness refuses it).
 * @param window the model's sequence length.
 */
export function encodeRequest(tokenizer: Encoder, request: Request, window: number): EncodedRequest {
  const context = stripRight(request.context)
  const continuation = request.context.slice(context.length) + request.continuation
  const before = context === '' ? Uint16Array.of(tokenizer.endOfText) : tokenizer.encode(context)
  const whole =
    context === ''
      ? Uint16Array.of(tokenizer.endOfText, ...tokenizer.encode(continuation))
      : tokenizer.encode(context + continuation)
  const ids = whole.slice(-(window + 1))
  const scored = Math.min(Math.max(0, whole.length - before.length), ids.length - 1)
  return { ids, scored }
}
