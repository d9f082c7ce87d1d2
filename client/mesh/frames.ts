/**
 * The frames of a link: one message of the data channel each, at most 64 KiB, little endian.
 *
 *   byte 0      kind: 1 open, 2 data, 3 ack
 *   bytes 1-4   number of the message, counted by its sender
 *   open        bytes 5-    the header, JSON in UTF-8
 *   data        bytes 5-12  offset (f64, a whole number), 13-16 CRC-32 of bytes 0-12 and the payload, 17- the payload
 *   ack         byte 5      0 going on, 1 whole, 2 not wanted, 3 damaged; bytes 6-13 bytes taken so far (f64)
 */
export const FRAME_BYTES = 64 * 1024
const DATA_HEADER = 17
export const PAYLOAD_BYTES = FRAME_BYTES - DATA_HEADER
const HEADER_BYTES = 2_048

export type AckState = 'going-on' | 'whole' | 'unwanted' | 'damaged'
const STATES: readonly AckState[] = ['going-on', 'whole', 'unwanted', 'damaged']

export type Frame =
  | { kind: 'open'; message: number; header: unknown }
  /** Sound: the CRC is right; otherwise nothing of it can be believed, the number and the offset neither. */
  | { kind: 'data'; message: number; offset: number; sound: boolean; payload: Uint8Array<ArrayBuffer> }
  | { kind: 'ack'; message: number; state: AckState; taken: number }

/** @throws RangeError when the header is too long */
export function openFrame(message: number, header: unknown): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(JSON.stringify(header))
  if (text.length > HEADER_BYTES) throw new RangeError('A header has 2 KiB at most.')
  const frame = frameOf(1, message, 5 + text.length)
  frame.set(text, 5)
  return frame
}

export function dataFrame(message: number, offset: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = frameOf(2, message, DATA_HEADER + payload.length)
  const view = new DataView(frame.buffer)
  view.setFloat64(5, offset, true)
  view.setUint32(13, crcOf(frame.subarray(0, 13), payload), true)
  frame.set(payload, DATA_HEADER)
  return frame
}

export function ackFrame(message: number, state: AckState, taken: number): Uint8Array<ArrayBuffer> {
  const frame = frameOf(3, message, 14)
  frame[5] = STATES.indexOf(state)
  new DataView(frame.buffer).setFloat64(6, taken, true)
  return frame
}

function frameOf(kind: number, message: number, bytes: number): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(bytes)
  frame[0] = kind
  new DataView(frame.buffer).setUint32(1, message, true)
  return frame
}

/** Null when it is none. */
export function readFrame(bytes: Uint8Array): Frame | null {
  if (bytes.length < 5 || bytes.length > FRAME_BYTES) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const message = view.getUint32(1, true)
  switch (bytes[0]) {
    case 1:
      return readOpen(message, bytes.subarray(5))
    case 2: {
      if (bytes.length < DATA_HEADER) return null
      const offset = view.getFloat64(5, true)
      const payload = bytes.slice(DATA_HEADER)
      const sound = crcOf(bytes.subarray(0, 13), payload) === view.getUint32(13, true)
      return { kind: 'data', message, offset, sound, payload }
    }
    case 3: {
      const state = STATES[bytes[5] ?? STATES.length]
      const taken = bytes.length === 14 ? view.getFloat64(6, true) : Number.NaN
      return state !== undefined && isCount(taken) ? { kind: 'ack', message, state, taken } : null
    }
    default:
      return null
  }
}

function readOpen(message: number, text: Uint8Array): Frame | null {
  if (text.length > HEADER_BYTES) return null
  try {
    return {
      kind: 'open',
      message,
      header: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text)),
    }
  } catch {
    return null
  }
}

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0

/** Four bytes at a time: tables[k][b] is the CRC of byte b followed by k zeros. */
const TABLES = Array.from({ length: 4 }, () => new Uint32Array(256)) as [
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
]
for (let b = 0; b < 256; b++) {
  let crc = b
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  TABLES[0][b] = crc
}
for (let k = 1; k < 4; k++) {
  for (let b = 0; b < 256; b++) {
    const before = (TABLES[k - 1] as Uint32Array)[b] as number
    ;(TABLES[k] as Uint32Array)[b] = (before >>> 8) ^ (TABLES[0][before & 255] as number)
  }
}

const crcOf = (head: Uint8Array, payload: Uint8Array): number => crc32(payload, crc32(head))

/** CRC-32 of IEEE 802.3; `before` is that of the bytes before these. */
export function crc32(bytes: Uint8Array, before = 0): number {
  const [t0, t1, t2, t3] = TABLES
  let crc = before ^ 0xffffffff
  let i = 0
  for (; i + 4 <= bytes.length; i += 4) {
    crc ^=
      (bytes[i] as number) |
      ((bytes[i + 1] as number) << 8) |
      ((bytes[i + 2] as number) << 16) |
      ((bytes[i + 3] as number) << 24)
    crc =
      (t3[crc & 255] as number) ^
      (t2[(crc >>> 8) & 255] as number) ^
      (t1[(crc >>> 16) & 255] as number) ^
      (t0[crc >>> 24] as number)
  }
  for (; i < bytes.length; i++) crc = (crc >>> 8) ^ (t0[(crc ^ (bytes[i] as number)) & 255] as number)
  return (crc ^ 0xffffffff) >>> 0
}
