/** Rows as aligned columns of text; the first row is the heading, and columns of numbers stand to the right. */
export function tableOf(rows: readonly (readonly string[])[]): string {
  const [heading = []] = rows
  const widths = heading.map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)))
  const isNumber = heading.map((_, i) => rows.slice(1).every((row) => /^[-–±\d.,% ]*$/.test(row[i] ?? '')))
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (isNumber[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
  return rows.map((row) => line(row).trimEnd()).join('\n')
}
