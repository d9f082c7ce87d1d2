/**
 * Finds a Chromium to run the pages in, or installs one: used by the tests, by Playwright's configuration and by
 * the demo. It only finds; whoever asked launches it. Synchronous, so that a configuration file can call it.
 *
 * Order: CHROME_PATH, an installed browser, Playwright's own if it was downloaded before, and then an
 * installation, announced on stderr.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { chromium } from 'playwright'

/** For any headless run: works as root and in a container, and asks nothing of the network by itself. */
export const CHROMIUM_FLAGS = [
  '--no-sandbox',
  // Everything is served over TCP, from this machine; QUIC would only be tried and given up.
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** WebGPU on the CPU (SwiftShader): slow, but the same API and shaders on a machine without a GPU. */
export const WEBGPU_SOFTWARE_FLAGS = [
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--enable-unsafe-swiftshader',
]

const COMMANDS = [
  'chromium',
  'google-chrome',
  'google-chrome-stable',
  'chromium-browser',
  'microsoft-edge',
  'microsoft-edge-stable',
]
const MAC_APPLICATIONS = ['Google Chrome', 'Chromium', 'Microsoft Edge']
const WINDOWS_PROGRAMS = [
  ['Google', 'Chrome', 'Application', 'chrome.exe'],
  ['Chromium', 'Application', 'chrome.exe'],
  ['Microsoft', 'Edge', 'Application', 'msedge.exe'],
]

let found: string | undefined

/**
 * Path of a Chromium, Chrome or Edge that starts; installs one when there is none. Throws when CHROME_PATH names
 * no browser, or when the installation fails.
 */
export function findChromium(): string {
  found ??=
    fromEnvironment() ?? firstThatStarts(installed()) ?? firstThatStarts([ofPlaywright()]) ?? install()
  return found
}

function fromEnvironment(): string | undefined {
  const path = process.env.CHROME_PATH
  if (!path) return undefined
  if (!existsSync(path))
    throw new Error(`CHROME_PATH is ${path}, but no such file exists. Correct or unset it.`)
  if (!starts(path)) throw new Error(`CHROME_PATH is ${path}, but it does not start with --version.`)
  return path
}

function firstThatStarts(paths: string[]): string | undefined {
  return paths.find((path) => isExecutable(path) && !isSnap(path) && starts(path))
}

/** Where browsers usually are on this system; most of these paths do not exist. */
function installed(): string[] {
  if (process.platform === 'darwin') return onMac()
  if (process.platform === 'win32') return onWindows()
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  return COMMANDS.flatMap((command) => folders.map((folder) => join(folder, command)))
}

function onMac(): string[] {
  const folders = ['/Applications', join(process.env.HOME ?? '/', 'Applications')]
  return MAC_APPLICATIONS.flatMap((name) =>
    folders.map((folder) => join(folder, `${name}.app`, 'Contents', 'MacOS', name)),
  )
}

function onWindows(): string[] {
  const { PROGRAMFILES, 'PROGRAMFILES(X86)': x86, LOCALAPPDATA } = process.env
  const folders = [PROGRAMFILES, x86, LOCALAPPDATA].filter((folder) => folder !== undefined)
  return WINDOWS_PROGRAMS.flatMap((parts) => folders.map((folder) => join(folder, ...parts)))
}

/** Where Playwright keeps its own Chromium, downloaded or not. */
function ofPlaywright(): string {
  return chromium.executablePath()
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** A snap has its own /tmp, so it would not see the profile folder that Playwright gives it there. */
function isSnap(path: string): boolean {
  return path.startsWith('/snap/') || realpathSync(path).endsWith('/snap')
}

/** A stub (Ubuntu's chromium-browser), or a browser whose libraries are missing, fails here. */
function starts(path: string): boolean {
  // On Windows `--version` opens a window instead of printing; there the file must be enough.
  if (process.platform === 'win32') return true
  return spawnSync(path, ['--version'], { stdio: 'ignore', timeout: 60_000 }).status === 0
}

function install(): string {
  if (canUseDebianPackage() && installDebianPackage()) {
    const path = firstThatStarts(installed())
    if (path) return path
  }
  installPlaywrights()
  const path = firstThatStarts([ofPlaywright()])
  if (path) return path
  throw new Error(
    'No Chromium found, and installing one failed (see above). Install Chromium or Chrome, or set CHROME_PATH.',
  )
}

/** Ubuntu is left out: its `chromium` package only points to a snap. */
function canUseDebianPackage(): boolean {
  return isRoot() && hasAptGet() && !/^ID(_LIKE)?=.*ubuntu/m.test(osRelease())
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}

function hasAptGet(): boolean {
  return spawnSync('apt-get', ['--version'], { stdio: 'ignore' }).status === 0
}

function osRelease(): string {
  return existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
}

function installDebianPackage(): boolean {
  say("No Chromium found: installing Debian's chromium package (apt-get, about 100 MB)…")
  return (
    run('apt-get', ['update']) && run('apt-get', ['install', '-y', '--no-install-recommends', 'chromium'])
  )
}

function installPlaywrights(): boolean {
  say("No Chromium found: downloading Playwright's (npx playwright install chromium, about 170 MB)…")
  const cli = join(dirname(createRequire(import.meta.url).resolve('playwright/package.json')), 'cli.js')
  const systemLibraries = isRoot() && hasAptGet() ? ['--with-deps'] : []
  return run(process.execPath, [cli, 'install', ...systemLibraries, 'chromium'])
}

/** All output goes to stderr: the standard output belongs to the program that asked. */
function run(command: string, args: string[]): boolean {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  return spawnSync(command, args, { stdio: ['ignore', 2, 2], env }).status === 0
}

function say(sentence: string): void {
  process.stderr.write(`${sentence}\n`)
}
