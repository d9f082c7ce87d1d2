/** One process per folder: a lock file with the holder's process id, stale when that process is gone. */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PotluckError } from '../../shared/protocol/errors.ts'

/** Answers the unlocking. @throws PotluckError `bad-state` when another process holds the folder. */
export async function lockFolder(folder: string, who = 'another coordinator'): Promise<() => Promise<void>> {
  const file = join(folder, 'coordinator.pid')
  const holder = Number(await readFile(file, 'utf8').catch(() => '0'))
  if (holder > 0 && holder !== process.pid && isAlive(holder)) {
    throw new PotluckError(
      'bad-state',
      `The folder ${folder} is in use by ${who} (process ${holder}). Stop it, or set POTLUCK_DATA to another folder.`,
    )
  }
  await writeFile(file, String(process.pid))
  return () => rm(file, { force: true })
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' // kill throws system errors; this one means "not yours"
  }
}
