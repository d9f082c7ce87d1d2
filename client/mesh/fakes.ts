/** For tests: channels in memory, and a group whose links go over them. */
import type { GroupMessage } from '../../shared/protocol/mesh.ts'
import type { MeshGroup } from './group.ts'
import { type Channel, Link, type LinkPorts } from './link.ts'

/** What becomes of a frame on its way. */
export type Fault = (frame: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer> | 'cut' | 'lost'

/** Two ends of a channel in memory; frames arrive later, one after another. */
export function channelPair(fault: Fault = (frame) => frame): [Channel, Channel] & { cut(): void } {
  const frames: ((frame: Uint8Array) => void)[][] = [[], []]
  const closes: (() => void)[] = []
  let open = true
  const cut = () => {
    if (!open) return
    open = false
    for (const close of closes) close()
  }
  const end = (side: 0 | 1): Channel => ({
    async write(frame) {
      if (!open) throw new Error('closed')
      const sent = fault(frame.slice())
      await Promise.resolve()
      if (sent === 'cut') return cut()
      if (sent !== 'lost') for (const take of frames[1 - side] ?? []) take(sent)
    },
    onFrame: (listener) => frames[side]?.push(listener),
    onClose: (listener) => closes.push(listener),
    close: cut,
  })
  return Object.assign([end(0), end(1)] as [Channel, Channel], { cut })
}

/** One member of a group, as what it is made of sees it. */
export interface FakeMember extends Pick<MeshGroup, 'message' | 'link' | 'linked' | 'whole'> {
  /** What it does with what others send; wants nothing until a test says so. */
  accept: (from: number, header: never) => ReturnType<LinkPorts['accept']>
}

export function fakeGroup(size: number): FakeMember[] {
  const links = new Map<string, Link>()
  const members = Array.from({ length: size }, (_, index): FakeMember => {
    const message: GroupMessage = { group: 'a-group', run: 'a-run', size, index, iceServers: [] }
    const linked = Array.from({ length: size }, (_, other) => other).filter((other) => other !== index)
    return { message, linked, whole: true, link: (to) => links.get(`${index} ${to}`), accept: () => null }
  })
  const linkOf = (index: number, to: number) => {
    const link = new Link({ accept: (header) => members[index]?.accept(to, header as never) ?? null }) // as it was sent
    links.set(`${index} ${to}`, link)
    return link
  }
  for (let a = 0; a < size; a++) {
    for (let b = a + 1; b < size; b++) {
      const [left, right] = channelPair()
      linkOf(a, b).attach(left)
      linkOf(b, a).attach(right)
    }
  }
  return members
}
