/**
 * Lets EngineErrors keep their code on the way out of the Worker. Comlink sends of an error only what every
 * error has. Imported for its effect, by both ends.
 */
import { type TransferHandler, transferHandlers } from 'comlink'
import { EngineError, type EngineErrorCode } from '../../shared/engine/engine.ts'

/** What Comlink's own handler reads and writes: `value` holds the thrown thing. */
type Thrown = { value: unknown }
type Sent = { engineError: { code: EngineErrorCode; message: string } } | { other: unknown }

// Comlink registers this handler itself, under this name, for everything thrown by a call.
const stock = transferHandlers.get('throw') as TransferHandler<Thrown, unknown>

transferHandlers.set('throw', {
  canHandle: stock.canHandle,
  serialize(thrown: Thrown): [Sent, Transferable[]] {
    if (thrown.value instanceof EngineError) {
      const { code, message } = thrown.value
      return [{ engineError: { code, message } }, []]
    }
    const [other, transferables] = stock.serialize(thrown)
    return [{ other }, transferables]
  },
  deserialize(sent: Sent): Thrown {
    if ('engineError' in sent) throw new EngineError(sent.engineError.code, sent.engineError.message)
    return stock.deserialize(sent.other)
  },
} satisfies TransferHandler<Thrown, Sent>)
