/**
 * Where the evaluation process begins, in JavaScript because Node 20 runs no TypeScript: it registers tsx, which lies
 * beside this file and not where the process was started, and hands over to child.ts.
 */
import { register } from 'tsx/esm/api'

register()
await import('./child.ts')
