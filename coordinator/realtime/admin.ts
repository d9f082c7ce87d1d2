/** The namespace `/admin`: the panel's live view, for whoever has the operator's session cookie. */
import { parse as parseCookies } from 'cookie'
import type { DefaultEventsMap, Namespace, Server } from 'socket.io'
import { PotluckError } from '../../shared/protocol/errors.ts'
import type { AdminToCoordinator, CoordinatorToAdmin } from '../../shared/protocol/messages.ts'
import type { Operator } from '../accounts/operator.ts'
import { SESSION_COOKIE } from '../http/admin.ts'
import type { Runs } from '../runs/runs.ts'
import { throttle } from './throttle.ts'

type Panels = Namespace<AdminToCoordinator, CoordinatorToAdmin, DefaultEventsMap, DefaultEventsMap>

const VIEW_INTERVAL_MS = 500
/** What another process has brought, `npm run potluck -- corpus add` for one, nobody tells us of. */
const COMMANDS_INTERVAL_MS = 10_000

export function adminNamespace(
  server: Server,
  { runs, operator, log }: { runs: Runs; operator: Operator; log: { error(error: unknown): void } },
): void {
  const panels: Panels = server.of('/admin')
  panels.use((socket, next) => {
    const session = parseCookies(socket.request.headers.cookie ?? '')[SESSION_COOKIE]
    operator.loggedIn(session).then(
      (yes) => next(yes ? undefined : unauthorized()),
      (error: unknown) => next(error instanceof Error ? error : new Error(String(error))),
    )
  })
  const show = (emit: (view: Awaited<ReturnType<Runs['adminView']>>) => void) => {
    runs.adminView().then(emit, (error: unknown) => log.error(error))
  }
  panels.on('connection', (socket) => {
    const showHere = () => show((view) => socket.emit('view', view))
    showHere()
    const again = setInterval(showHere, COMMANDS_INTERVAL_MS).unref()
    socket.on('disconnect', () => clearInterval(again))
  })
  const emit = throttle(
    () => {
      if (panels.sockets.size > 0) show((view) => panels.emit('view', view))
    },
    () => VIEW_INTERVAL_MS,
  )
  runs.onChange(emit)
}

function unauthorized(): Error {
  const error = new PotluckError('unauthorized', 'Log in first.', 401)
  return Object.assign(new Error(error.message), { data: error.toBody().error })
}
