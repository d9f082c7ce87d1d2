/** One WebRTC data channel as a Channel, by simple-peer. Signals are strings that somebody else carries. */
import SimplePeer from 'simple-peer'
import type { z } from 'zod'
import type { iceServerSchema } from '../../shared/protocol/mesh.ts'
import type { Channel } from './link.ts'

export type IceServer = z.infer<typeof iceServerSchema>

export interface PeerChannel {
  /** Resolves when the channel is open. @throws Error when it will not be */
  readonly opened: Promise<Channel>
  signal(signal: string): void
  close(): void
}

export interface PeerOptions {
  readonly initiator: boolean
  readonly iceServers: readonly IceServer[]
  /** A signal for the other end. */
  readonly onSignal: (signal: string) => void
}

export function openPeer({ initiator, iceServers, onSignal }: PeerOptions): PeerChannel {
  const config = { iceServers: iceServers as RTCIceServer[] } // the coordinator's schema is its shape
  const peer = new SimplePeer({ initiator, trickle: true, config })
  const closes = new Set<() => void>()
  let open = true
  /** Ends when there is room again, or with the channel. */
  let room: Promise<void> | null = null

  function close(): void {
    if (!open) return
    open = false
    peer.destroy()
    for (const listener of closes) listener()
  }

  const channel: Channel = {
    async write(frame) {
      if (!open) throw new Error('The channel is closed.')
      if (!peer.write(frame)) {
        room ??= new Promise<void>((resolve) => {
          closes.add(resolve)
          peer.once('drain', () => {
            closes.delete(resolve)
            resolve()
          })
        }).finally(() => {
          room = null
        })
      }
      await room
      if (!open) throw new Error('The channel closed.')
    },
    onFrame: (listener) => peer.on('data', (data: Uint8Array) => listener(data)),
    onClose(listener) {
      if (open) closes.add(listener)
      else listener()
    },
    close,
  }
  const opened = new Promise<Channel>((resolve, reject) => {
    peer.on('connect', () => resolve(channel))
    peer.on('error', reject)
    closes.add(() => reject(new Error('The channel closed.')))
  })
  opened.catch(() => undefined) // whoever waits hears of it
  peer.on('error', close)
  peer.on('close', close)
  peer.on('signal', (signal) => onSignal(JSON.stringify(signal)))
  return {
    opened,
    signal(signal) {
      try {
        if (open) peer.signal(JSON.parse(signal))
      } catch {
        close() // what a stranger sent is no signal
      }
    },
    close,
  }
}
