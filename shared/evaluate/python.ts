/**
 * Python's string methods where JavaScript's differ, because the tasks' definitions are Python (lm-evaluation-harness)
 * and a request has to be the same string.
 */

/** What `str.isspace` calls white space (Unicode 15, CPython's _PyUnicode_IsWhitespace). U+FEFF is none. */
const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'
const ENDS = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, 'g')
const RIGHT_END = new RegExp(`[${SPACE}]+$`)

/** `text.strip()` */
export const strip = (text: string): string => text.replace(ENDS, '')

/** `text.rstrip()` */
export const stripRight = (text: string): string => text.replace(RIGHT_END, '')

/** `text.capitalize()`: the first character upper case, and all others lower. */
export function capitalize(text: string): string {
  const [first = ''] = text // a character, not half of a surrogate pair
  const [head = '', ...tail] = first.toUpperCase() // one may become several: ß, Ss
  return head + tail.join('').toLowerCase() + text.slice(first.length).toLowerCase()
}

/** `len(text)`: characters, where `.length` counts UTF-16 units. */
export const lengthOf = (text: string): number => [...text].length
