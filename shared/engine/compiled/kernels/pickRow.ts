/** One row of a matrix, its index known only on the device. */
import { access, type Element, elementwise, type Kernel } from '../kernel.ts'

/** x: [rows, width], index: [1] → row: [width], in f32 */
export function pickRow(width: number, element: Element = 'f32'): Kernel {
  const { type, load } = access(element, 1)
  return elementwise({
    kind: 'copy',
    buffers: { x: `read ${type}`, index: 'read u32', row: 'write f32' },
    count: width,
    body: `  row[i] = ${load(`x[index[0] * ${width}u + i]`)};`,
  })
}
