/** Every limit a stranger can run into, in one table with units. Both ends and the tests import it. */
export const LIMITS = {
  /** Bytes in one Socket.IO message; control messages are a few hundred. */
  socketMessageBytes: 64 * 1024,
  /** Control messages one volunteer may send in a window. */
  volunteerMessages: { points: 120, seconds: 10 },
  /** Sockets from one address at a time. */
  socketsPerAddress: 64,
  /** Characters of a volunteer's device description. */
  deviceCharacters: 120,
  /** Seconds a lease outlives its volunteer's connection. */
  leaseGraceSeconds: 20,
  /** Refused contributions after which a volunteer sits out the rest of the round. */
  refusalsPerRound: 2,
  /** Contributions and other uploads one volunteer may start in a minute. */
  uploadsPerMinute: 120,
  /** An upload for which we waited so many seconds in all without so many bytes is cut off; what came of it stays. */
  uploadIdleSeconds: 60,
  /** Deltas of a fragment that a view lists at most. */
  deltas: 16,
  uploadIdleBytes: 60 * 1024,
  /** Open uploads of one lease: the newest, which is read, and older ones that wait for its end. */
  uploadsPerLease: 4,
  /** What is still read of a refused body, in bytes and seconds, so that its sender gets to hear why. */
  uploadDrain: { bytes: 4 * 1024 * 1024, seconds: 10 },
  /** Login attempts one address may make in a minute. */
  loginsPerMinute: 5,
  /** Bytes of a JSON body of the admin API. */
  jsonBytes: 64 * 1024,
  /** Characters of the operator's password. */
  password: { min: 10, max: 200 },
  /** Hours an operator's session lasts. */
  adminSessionHours: 12,
  /** Points of the loss history sent to pages. */
  historyPoints: 400,
  evaluation: {
    /** Predicted tokens of a slice; a longer sequence is a slice of its own. */
    sliceTokens: 2_048,
    /** Seconds after which a slice that was not answered is leased again. */
    sliceSeconds: 120,
    /** Rounds that wait to be measured while another is; then the oldest is given up. */
    waiting: 16,
    /** Bytes of an older round's weights that a waiting tab fetches at most, to measure them. */
    olderWeightsBytes: 64 * 1024 * 1024,
    /** Answers to one slice, should they disagree. */
    answers: 5,
    /** What any answer may claim at most; a slice is bounded more narrowly. */
    nats: 1e9,
    tokens: 1e6,
  },
  tasks: {
    /** What an imported zero-shot task may have at most: bytes of a file, packed and unpacked. */
    bytes: 128 * 1024 * 1024,
    examples: 200_000,
    /** Of an example, and characters of each of its fields. */
    choices: 16,
    characters: 20_000,
    /** Characters that are kept of where it came from. */
    source: 1_000,
    /** Rounds that wait to be measured on tasks while another is; then the oldest is given up. */
    waiting: 4,
  },
  /** Checkpoints that the panel lists. */
  checkpointsListed: 200,
  /** Uploaded weights that are kept; a new one drops the oldest. */
  imports: 4,
} as const
