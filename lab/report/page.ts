/** All reports as one HTML page that needs nothing else: light and dark, wide and narrow. Pure. */

import type { SavedReport } from '../common/report.ts'
import { escaped } from '../common/svg.ts'
import { htmlOf } from '../common/table.ts'

export interface Section {
  readonly report: SavedReport
  /** SVG by the plot's id; plots whose file is missing are left out. */
  readonly plots: ReadonlyMap<string, string>
}

const STYLE = `
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1f2328; --soft: #59636e; --rule: #d9dee3; --shade: #f6f8fa; --link: #0a58ca }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --ink: #e6edf3; --soft: #9198a1; --rule: #30363d; --shade: #161b22; --link: #79b8ff } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
a { color: var(--link) }
nav ul { padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem }
nav a { display: inline-block; padding: .25rem 0 }
section { border-top: 1px solid var(--rule); margin-top: 2rem }
code { background: var(--shade); padding: .1rem .3rem; border-radius: .25rem }
.soft, .note { color: var(--soft) }
.note { font-size: .875rem; margin-top: .25rem }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; margin: 1rem 0 }
figure { margin: 0; min-width: 0 }
figure svg { width: 100%; height: auto; border: 1px solid var(--rule); border-radius: .25rem }
.wide { overflow-x: auto; margin-top: 1rem }
table { border-collapse: collapse; font-size: .875rem; overflow-wrap: normal }
caption { text-align: left; font-weight: 600; padding-bottom: .25rem }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--rule); text-align: left; white-space: nowrap }
.number { text-align: right; font-variant-numeric: tabular-nums }
summary { cursor: pointer; padding: .5rem 0 }
`

export function pageOf(sections: readonly Section[]): string {
  const links = sections.map(
    ({ report }) => `<li><a href="#${report.experiment}">${escaped(report.title)}</a></li>`,
  )
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Potluck: the laboratory</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>Potluck: the laboratory</h1>
<p>What experiments with the production code have found. Each section names the command that made it.</p>
<nav aria-label="Experiments"><ul>
${links.join('\n')}
</ul></nav>
</header>
<main>
${sections.map(sectionOf).join('\n')}
</main>
</body>
</html>
`
}

/** A number stays with its percent sign, and a minus is one. */
const typeset = (text: string): string => text.replaceAll(' %', '\u00a0%').replaceAll(/(?<=\s)-(?=\d)/g, '−')

function sectionOf({ report, plots }: Section): string {
  const { experiment, title, about, command, quick, findings, tables } = report
  const small = quick
    ? '<p><strong>The small form: its numbers show that it works, no more.</strong></p>'
    : ''
  const figures = report.plots.flatMap((plot) => {
    const svg = plots.get(plot.id)
    return svg ? [`<figure aria-label="${escaped(plot.title)}">${svg}</figure>`] : []
  })
  return `<section id="${experiment}">
<h2>${escaped(title)}</h2>
<p class="soft">${escaped(about)}</p>
<p><code>${escaped(command)}</code></p>
${small}
<ul>
${findings.map((finding) => `<li>${escaped(typeset(finding))}</li>`).join('\n')}
</ul>
<div class="plots">
${figures.join('\n')}
</div>
<details${tables.length <= 2 ? ' open' : ''}><summary>Tables</summary>
${tables.map(htmlOf).join('\n')}
</details>
</section>`
}
