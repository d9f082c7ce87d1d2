/** JSON.parse takes the last of equal keys, other readers the first: a strict reader takes neither. */

/** The first key that an object of this text has twice, whatever its depth; null for none. The text is valid JSON. */
export function repeatedKey(text: string): string | null {
  /** The keys so far of each open object; an array has none. */
  const open: Set<string>[] = []
  for (let i = 0; i < text.length; i++) {
    const character = text[i]
    if (character === '{' || character === '[') open.push(new Set())
    else if (character === '}' || character === ']') open.pop()
    if (character !== '"') continue
    const begin = i
    for (i++; text[i] !== '"'; i++) if (text[i] === '\\') i++
    const key = text.slice(begin, i + 1)
    const keys = open.at(-1)
    if (!keys || !isFollowedByColon(text, i + 1)) continue
    const name: string = JSON.parse(key) // a string of valid JSON; escapes may spell the same key
    if (keys.has(name)) return name
    keys.add(name)
  }
  return null
}

function isFollowedByColon(text: string, from: number): boolean {
  let at = from
  while (' \t\n\r'.includes(text[at] ?? ':')) at++
  return text[at] === ':'
}
