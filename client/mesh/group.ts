/**
 * One group as one of its tabs sees it: a channel to each other member, opened, replaced when it breaks, and a link over
 * it. What goes over the links is exchange.ts's and sharedBlobs.ts's.
 */
import type { GroupMessage } from '../../shared/protocol/mesh.ts'
import { type Channel, Link, type LinkPorts } from './link.ts'
import { openPeer, type PeerChannel } from './peerChannel.ts'

export interface GroupPorts {
  /** To member `to`, through the coordinator. */
  signal(to: number, signal: string): void
  /** With whom there is a channel now. */
  linked(others: readonly number[]): void
  accept(from: number, header: unknown): ReturnType<LinkPorts['accept']>
  /** For measurements: a slower line. */
  readonly through?: ((channel: Channel) => Channel) | undefined
}

interface Member {
  readonly index: number
  readonly link: Link
  peer: PeerChannel | null
  /** Counts the channels that were tried; both ends agree on it. */
  attempt: number
  /** A channel is open, or was a moment ago and is being replaced. */
  linked: boolean
  timer: ReturnType<typeof setTimeout> | undefined
}

const MOST_ATTEMPTS = 4
/** A broken channel that is not replaced in so long is a lost one. */
const REPLACE_MS = 6_000

export class MeshGroup {
  readonly message: GroupMessage
  readonly #ports: GroupPorts
  readonly #members = new Map<number, Member>()
  #over = false

  constructor(message: GroupMessage, ports: GroupPorts) {
    this.message = message
    this.#ports = ports
    for (let index = 0; index < message.size; index++) {
      if (index === message.index) continue
      const link = new Link({ accept: (header) => ports.accept(index, header) })
      const member = { index, link, peer: null, attempt: 0, linked: false, timer: undefined }
      this.#members.set(index, member)
      if (this.#begins(index)) this.#connect(member, 1)
    }
  }

  /** Members with whom there is a channel. */
  get linked(): number[] {
    return [...this.#members.values()].filter(({ linked }) => linked).map(({ index }) => index)
  }

  get whole(): boolean {
    return this.linked.length === this.message.size - 1
  }

  link(index: number): Link | undefined {
    return this.#members.get(index)?.link
  }

  /** Bytes to and from the others. */
  get traffic(): { sent: number; received: number } {
    const links = [...this.#members.values()].map(({ link }) => link)
    const sum = (of: (link: Link) => number) => links.reduce((total, link) => total + of(link), 0)
    return { sent: sum((link) => link.sent), received: sum((link) => link.received) }
  }

  /** `attempt:signal`, as the other end of this class sends it. */
  relayed(from: number, text: string): void {
    const member = this.#members.get(from)
    const [, digits, signal] = /^(\d{1,2}):(.*)$/s.exec(text) ?? []
    const attempt = Number(digits)
    if (!member || signal === undefined || this.#over || attempt > MOST_ATTEMPTS) return
    if (attempt > member.attempt && !this.#begins(from)) this.#connect(member, attempt)
    if (attempt === member.attempt) member.peer?.signal(signal)
  }

  /** For tests: as if the network had broken off. */
  cut(index: number): void {
    this.#members.get(index)?.peer?.close()
  }

  close(why: string): void {
    this.#over = true
    for (const member of this.#members.values()) {
      clearTimeout(member.timer)
      member.link.close(why)
      member.peer?.close()
    }
  }

  #begins(other: number): boolean {
    return this.message.index < other
  }

  #connect(member: Member, attempt: number): void {
    member.peer?.close()
    member.attempt = attempt
    const peer = openPeer({
      initiator: this.#begins(member.index),
      iceServers: this.message.iceServers,
      onSignal: (signal) => this.#ports.signal(member.index, `${attempt}:${signal}`),
    })
    member.peer = peer
    peer.opened.then(
      (channel) => {
        if (this.#over || member.peer !== peer) {
          peer.close()
          return
        }
        clearTimeout(member.timer)
        member.link.attach(this.#ports.through?.(channel) ?? channel)
        channel.onClose(() => this.#broke(member, peer))
        this.#tell(member, true)
      },
      () => this.#broke(member, peer),
    )
  }

  #broke(member: Member, peer: PeerChannel): void {
    if (this.#over || member.peer !== peer) return
    member.peer = null
    clearTimeout(member.timer)
    member.timer = setTimeout(() => this.#tell(member, false), REPLACE_MS)
    if (this.#begins(member.index) && member.attempt < MOST_ATTEMPTS)
      this.#connect(member, member.attempt + 1)
  }

  #tell(member: Member, linked: boolean): void {
    if (member.linked === linked && linked) return
    member.linked = linked
    this.#ports.linked(this.linked)
  }
}
