/**
 * The coordinator as one object: builds the parts, wires them, starts and stops them. main.ts runs it for real use;
 * the demo and the tests run it on a free port.
 */
import { mkdir } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Server } from 'socket.io'
import { PotluckError } from '../shared/protocol/errors.ts'
import { LIMITS } from '../shared/protocol/limits.ts'
import { openOperator } from './accounts/operator.ts'
import { startAggregator } from './aggregate/aggregator.ts'
import { systemClock } from './clock.ts'
import type { Config } from './config.ts'
import { startEvaluator } from './evaluate/evaluator.ts'
import { buildServer } from './http/server.ts'
import { Mesh } from './mesh/mesh.ts'
import { openMetrics } from './metrics/metrics.ts'
import { adminNamespace } from './realtime/admin.ts'
import { Gate } from './realtime/gate.ts'
import { volunteerNamespace } from './realtime/volunteers.ts'
import { Leases } from './rounds/leases.ts'
import { Runs } from './runs/runs.ts'
import { clearIncoming, openFileBlobStore } from './store/fileBlobs.ts'
import { lockFolder } from './store/lock.ts'
import { openFilePartials } from './store/partials.ts'
import { openSqliteStore } from './store/sqlite.ts'
import { tasksFolder } from './tasks/tasks.ts'

export interface Coordinator {
  /** Where volunteers go, e.g. `http://localhost:8080`. */
  readonly url: string
  /** The one-use link's token, or null once a password is set. */
  readonly setupToken: string | null
  readonly runs: Runs
  /** Finishes the event under way and closes everything. */
  stop(): Promise<void>
}

const PAGES = fileURLToPath(new URL('../dist', import.meta.url))

/** @throws PotluckError `bad-config`, `bad-state` or `address-in-use`, in words for the operator. */
export async function startCoordinator(config: Config): Promise<Coordinator> {
  const clock = systemClock
  const folders = { blobs: join(config.data, 'blobs'), vault: join(config.data, 'vault') }
  await mkdir(config.data, { recursive: true })
  const unlock = await lockFolder(config.data)
  await clearIncoming(folders.blobs)
  await clearIncoming(folders.vault)
  const [blobs, vault] = [await openFileBlobStore(folders.blobs), await openFileBlobStore(folders.vault)]
  const store = await openSqliteStore(join(config.data, 'potluck.sqlite'))
  const partials = await openFilePartials(folders.vault, vault, clock)
  const aggregator = startAggregator(folders)
  const evaluator = startEvaluator({ blobs: folders.blobs, heldOutTokens: config.heldOutTokens })
  const metrics = openMetrics()
  let mesh: Mesh | null = null
  const runs = new Runs({
    ...{
      store,
      blobs,
      blobDirectory: folders.blobs,
      vault,
      vaultDirectory: folders.vault,
      taskDirectory: tasksFolder(config.data),
      aggregator,
      evaluator,
      clock,
    },
    observer: metrics.observer,
    comes: (hash) => partials.holds(hash) || mesh?.holds(hash) === true,
  })
  await runs.open()
  metrics.show(runs)
  const exchanges = new Mesh({ runs, store, partials, aggregator, clock, ice: config.ice })
  mesh = exchanges
  let open = openLeases(runs)
  await partials.keepOnly(open.keys())
  const dropEndedParts = async () => {
    const before = open
    open = openLeases(runs)
    const changed = [...open.since(before)]
    await partials.drop(changed.flatMap(({ id, after }) => (after === undefined ? [id] : [])))
  }
  const operator = await openOperator(store, clock.now)

  let kick: (volunteer: string, reason: string) => void = () => undefined
  const parts = {
    config,
    runs,
    mesh: exchanges,
    operator,
    metrics,
    store,
    blobs,
    blobDirectory: folders.blobs,
    vault,
    partials,
    aggregator,
    clock,
  }
  const app = await buildServer({
    ...parts,
    pages: PAGES,
    kick: (volunteer, reason) => kick(volunteer, reason),
  })
  runs.onChange(() => void dropEndedParts().catch((error: unknown) => app.log.error(error)))
  const gate = new Gate(config.publicUrl, config.trustedProxies)
  const sockets = new Server(app.server, {
    serveClient: false,
    transports: ['websocket'],
    maxHttpBufferSize: LIMITS.socketMessageBytes,
    connectTimeout: 10_000,
    allowRequest: (request, decide) => decide(null, gate.allows(request)),
  })
  kick = volunteerNamespace(sockets, { store, runs, mesh: exchanges, clock, gate, log: app.log })
  adminNamespace(sockets, { runs, operator, log: app.log })

  async function stop(): Promise<void> {
    exchanges.close()
    await partials.close() // first, so that who is uploading hears how far it came
    evaluator.close() // before the runs, so that none waits for it
    await runs.close()
    await Promise.all([sockets.close(), app.close()]) // the first alone would wait for bodies that nobody reads
    await aggregator.close()
    await store.close()
    metrics.close()
    await unlock()
  }

  await listen(app, config).catch(async (error: unknown) => {
    await stop()
    throw error
  })
  const { port } = app.server.address() as AddressInfo // it listens on TCP
  return {
    url: config.publicUrl ?? `${config.tls ? 'https' : 'http'}://${shownHost(config.host)}:${port}`,
    get setupToken() {
      return operator.setupToken
    },
    runs,
    stop,
  }
}

const openLeases = ({ machine }: Runs): Leases['byId'] => (machine?.leases ?? Leases.of([])).byId

async function listen(app: Awaited<ReturnType<typeof buildServer>>, { host, port }: Config): Promise<void> {
  try {
    await app.listen({ host, port })
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code // listen rejects with system errors
    if (code === 'EADDRINUSE') {
      throw new PotluckError('address-in-use', `Port ${port} is taken. Set POTLUCK_PORT to another one.`)
    }
    throw new PotluckError('bad-config', `Cannot listen on ${host}:${port}: ${String(error)}`)
  }
}

const shownHost = (host: string): string =>
  ['0.0.0.0', '::', '127.0.0.1'].includes(host) ? 'localhost' : host
