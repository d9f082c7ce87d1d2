/**
 * A pair that can only meet through TURN: two Chromium processes in network namespaces of their own, from which only the
 * machine in between can be reached, with the coordinator and coturn on it. Needs Linux, root, iproute2 and coturn.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, chromium } from '@playwright/test'
import { CHROMIUM_FLAGS, findChromium } from './chromium.ts'
import { contributeTogether, createRun, expect, press, test, wayOf } from './table.ts'

const SECRET = 'a secret for one test'
const TURN_PORT = 3_479
/** By side: the namespace, this machine's address in its network, and its own. */
const SIDES = [
  { name: 'potluck-a', here: '10.213.1.1', there: '10.213.1.2' },
  { name: 'potluck-b', here: '10.213.2.1', there: '10.213.2.2' },
] as const

const ip = (...words: string[]) => execFileSync('ip', words, { stdio: 'pipe' })

/** Why it cannot run here; null when it can. */
function obstacle(): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return 'network namespaces need Linux and root'
  if (!existsSync('/usr/bin/turnserver')) return 'coturn is not installed (apt-get install coturn)'
  const forwards = readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8').trim() !== '0'
  if (forwards) return 'this machine passes packets on, so that the two would reach each other'
  try {
    ip('netns', 'add', 'potluck-try')
    ip('netns', 'del', 'potluck-try')
    return null
  } catch {
    return 'network namespaces cannot be made here (iproute2, CAP_NET_ADMIN)'
  }
}

function separate(): void {
  for (const [index, { name, here, there }] of SIDES.entries()) {
    ip('netns', 'add', name)
    ip('link', 'add', `potluck${index}`, 'type', 'veth', 'peer', 'name', 'inside', 'netns', name)
    ip('addr', 'add', `${here}/24`, 'dev', `potluck${index}`)
    ip('link', 'set', `potluck${index}`, 'up')
    ip('-n', name, 'addr', 'add', `${there}/24`, 'dev', 'inside')
    ip('-n', name, 'link', 'set', 'lo', 'up')
    ip('-n', name, 'link', 'set', 'inside', 'up')
  }
}

function rejoin(): void {
  for (const { name } of SIDES) {
    try {
      ip('netns', 'del', name) // its end of the pair goes with it
    } catch {
      // It was not made.
    }
  }
}

function startTurn(): ChildProcess {
  const listen = SIDES.flatMap(({ here }) => ['--listening-ip', here])
  const auth = ['--use-auth-secret', '--static-auth-secret', SECRET, '--realm', 'potluck']
  const quiet = [
    '-n',
    '--verbose',
    '--no-cli',
    '--no-tls',
    '--no-dtls',
    '--log-file',
    'stdout',
    '--pidfile',
    '/dev/null',
  ]
  const where = [...listen, '--relay-ip', SIDES[0].here, '--listening-port', String(TURN_PORT)]
  return spawn('/usr/bin/turnserver', [...quiet, ...where, ...auth], { stdio: 'pipe' })
}

/** A Chromium that lives in a namespace; Playwright speaks to it through pipes, which namespaces leave alone. */
async function browserIn(name: string, origin: string, folder: string): Promise<Browser> {
  const wrapper = join(folder, name)
  writeFileSync(wrapper, `#!/bin/sh\nexec ip netns exec ${name} ${await findChromium()} "$@"\n`, {
    mode: 0o755,
  })
  const secure = `--unsafely-treat-insecure-origin-as-secure=${origin}`
  return chromium.launch({ executablePath: wrapper, args: [...CHROMIUM_FLAGS, secure] })
}

test('two tabs in networks that do not reach each other exchange through TURN', async ({
  page,
  coordinator,
}) => {
  const why = obstacle()
  test.skip(why !== null, why ?? '')
  const folder = mkdtempSync(join(tmpdir(), 'potluck-turn-'))
  const browsers: Browser[] = []
  let turn: ChildProcess | null = null
  let said = ''
  try {
    rejoin()
    separate()
    turn = startTurn()
    turn.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
    await coordinator.terminate()
    await coordinator.start({
      POTLUCK_HOST: '0.0.0.0',
      POTLUCK_TURN: SIDES.map(({ here }) => `turn:${here}:${TURN_PORT}`).join(','),
      POTLUCK_TURN_SECRET: SECRET,
    })
    await createRun(page, coordinator, {
      ...{ innerSteps: 10, replicas: 2, quorum: 2, rounds: 2, strict: true, groupSize: 2 },
    })
    for (const { name, here } of SIDES) {
      const origin = `http://${here}:${coordinator.port}`
      const browser = await browserIn(name, origin, folder)
      browsers.push(browser)
      const tab = await contributeTogether(browser, origin)
      await coordinator.until('a volunteer', (run) => run.present === browsers.length)
      await expect(tab.getByTestId('way')).toBeVisible()
    }
    for (const browser of browsers) {
      const tab = browser.contexts()[0]?.pages()[0]
      if (tab) await expect(wayOf(tab)).toHaveAttribute('data-value', 'group', { timeout: 60_000 })
    }
    await press(page, 'Start')
    const run = await coordinator.until('the last round', ({ status }) => status === 'completed', 120)
    // Both contributions came as one mean: there was no other way for them than the relay.
    for (const { replicas, bytesUp } of run.history)
      expect({ replicas, little: bytesUp < 200_000 }).toEqual({ replicas: 2, little: true })
    expect(said).toMatch(/ALLOCATE processed, success/)
  } finally {
    for (const browser of browsers) await browser.close()
    turn?.kill()
    rejoin()
    rmSync(folder, { recursive: true, force: true })
  }
})
