/** The live AdminView: fetched once, then pushed over the socket until `close`. */
import { signal } from '@preact/signals'
import { io, type Socket } from 'socket.io-client'
import type { AdminView } from '../../shared/protocol/admin.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import type { CoordinatorToAdmin } from '../../shared/protocol/messages.ts'
import { noteServerTime } from '../ui/clock.ts'
import { api } from './api.ts'

export interface Live {
  readonly view: { readonly value: AdminView | null }
  readonly connected: { readonly value: boolean }
  /** When the view on screen arrived, Unix milliseconds. */
  readonly asOf: { readonly value: number | null }
  /** Since when the operator holds the view still, or null. */
  readonly heldSince: { readonly value: number | null }
  toggleHold(): void
  close(): void
}

/** `onSessionOver` is called when the coordinator no longer knows the cookie. */
export function openLive(onSessionOver: () => void): Live {
  const view = signal<AdminView | null>(null)
  // Until the first attempt has failed there is nothing to warn of.
  const connected = signal(true)
  const asOf = signal<number | null>(null)
  const heldSince = signal<number | null>(null)
  let newest: AdminView | null = null

  const show = (next: AdminView) => {
    newest = next
    if (next.run !== null) noteServerTime(next.run.now)
    if (heldSince.value !== null) return
    view.value = next
    asOf.value = Date.now()
  }
  const refresh = async () => {
    try {
      const answer = await api.view()
      if (newest === null) show(answer)
    } catch (error) {
      if (error instanceof PotluckError && error.code === 'unauthorized') onSessionOver()
    }
  }

  const socket: Socket<CoordinatorToAdmin> = io('/admin', { transports: ['websocket'] })
  socket.on('connect', () => {
    connected.value = true
  })
  socket.on('disconnect', () => {
    connected.value = false
  })
  socket.on('connect_error', () => {
    connected.value = false
    // A dead session and a dead network look alike here; the HTTP route tells them apart.
    newest = null
    void refresh()
  })
  socket.on('view', show)
  void refresh()

  return {
    view,
    connected,
    asOf,
    heldSince,
    toggleHold() {
      heldSince.value = heldSince.value === null ? Date.now() : null
      if (heldSince.value === null && newest !== null) show(newest)
    },
    close: () => void socket.close(),
  }
}
