/** One row of a matrix, its index known only on the device. */
import { elementwise, type Kernel } from '../kernel.ts'

/** x: [rows, width], index: [1] → row: [width] */
export function pickRow(width: number): Kernel {
  return elementwise({
    kind: 'copy',
    buffers: { x: 'read f32', index: 'read u32', row: 'write f32' },
    count: width,
    body: `  row[i] = x[index[0] * ${width}u + i];`,
  })
}
