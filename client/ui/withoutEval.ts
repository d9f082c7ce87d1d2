/**
 * Import this first in a page's main.tsx: zod tries `new Function` when a schema is made, and the pages' content
 * security policy would report that as a violation each time. Interpreted schemas are fast enough here.
 */
import { config } from 'zod'

config({ jitless: true })
