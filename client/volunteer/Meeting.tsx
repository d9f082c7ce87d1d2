/** Whether this tab exchanges updates with other volunteers' tabs: asked in words, off until agreed to, and how it goes. */
import type { SwarmControls, SwarmView } from '../swarm/view.ts'
import { bytes, integer } from '../ui/format.ts'
import { strings } from '../ui/strings.ts'

const words = strings.volunteer.meeting

export function Meeting({ view, controls }: { view: SwarmView; controls: SwarmControls }) {
  const { mesh, run } = view
  if (run === null || run.config.groupSize === 1) return null
  return (
    <section class="card meeting">
      <h2>{words.title}</h2>
      <label class="meeting-choice">
        <input
          type="checkbox"
          checked={mesh.agreed}
          onChange={({ currentTarget }) => controls.meet(currentTarget.checked)}
        />
        <span>{words.agree}</span>
      </label>
      <p class="muted small">{words.explain}</p>
      {view.contributing && (
        <p data-testid="way" data-value={wayOf(mesh)}>
          {wayText(mesh)}
        </p>
      )}
      {mesh.sent + mesh.received > 0 && (
        <p class="small" data-testid="peer-bytes" data-value={mesh.sent} data-exchanged={mesh.exchanged}>
          {words.bytes(bytes(mesh.sent), bytes(mesh.received), integer(mesh.exchanged))}
        </p>
      )}
    </section>
  )
}

export type Way = 'direct' | 'alone' | 'linking' | 'group'

export function wayOf({ agreed, group }: SwarmView['mesh']): Way {
  if (!agreed) return 'direct'
  if (group === null) return 'alone'
  return group.linked === group.size ? 'group' : 'linking'
}

function wayText(mesh: SwarmView['mesh']): string {
  const others = (mesh.group?.size ?? 1) - 1
  return {
    direct: words.direct,
    alone: words.alone,
    linking: words.linking(others),
    group: words.group(others),
  }[wayOf(mesh)]
}
