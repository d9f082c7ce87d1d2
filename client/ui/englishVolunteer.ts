/** The volunteer page’s sentences in English. States are told as word, reason, what happens next. */
import { count } from './format.ts'

const welcome = {
  headline: 'Train a language model together, in your browser',
  what: 'Potluck trains one small language model in many browser tabs at once. Lend this tab some time: it studies a helping of text and brings back what it learned.',
  whatRun: (name: string, size: string) =>
    `Many browser tabs are training one language model together: “${name}”, ${size} parameters. Lend this tab some time: it studies a helping of text and brings back what it learned.`,
  sampleTitle: 'What the model writes',
  sampleThen: 'Untrained',
  sampleNow: (round: string) => `After round ${round}`,
  sampleNone: 'Nothing written yet. The first sample appears once a run is prepared.',
  start: 'Start contributing',
  startAgain: 'Start again',
  thanksBack: (name: string, contributions: number) =>
    `Welcome back, ${name}. ${count(contributions, 'contribution')} of yours ${contributions === 1 ? 'is' : 'are'} in the model.`,
  fitUnknown: 'After the click, a few seconds of measuring choose the fastest way this device can train.',
  fits: (backend: string, rate: string, memory: string) =>
    `Fits: ${backend}, about ${rate}, in ${memory} of memory.`,
  consentTitle: 'What you agree to',
  consentUse: (run: string) => `This uses your GPU, or the CPU where there is none, to train ${run}.`,
  consentAnyRun: 'the model the operator sets up',
  consentBytes: (time: string, down: string, up: string) =>
    `Each round (${time}) downloads about ${down} and a share of the training text, and uploads ${up}.`,
  consentFirst: (bytes: string) => `The weights, ${bytes}, come once and stay in this browser.`,
  consentAbout: (time: string) => `about ${time}`,
  consentAtMost: (time: string) => `at most ${time}`,
  consentPower: 'It uses electricity and makes heat; fans may speed up.',
  consentStop: 'It stops when you press Stop or close the tab.',
  consentKeeps:
    'Nothing is installed and your files are not read. This browser keeps one volunteer key, so that your contributions count together.',
  consentSeen:
    'The operator sees a random name, your device type and your speed. Others see only how many are here.',
  consentSeenUnless:
    'The operator sees a random name, your device type and your speed. Others see only how many are here, unless you agree below.',
  factsTitle: 'Right now',
  factLoss: 'Held-out loss',
  factLossFrom: (from: string) => `${from} untrained; lower is better`,
  factVolunteers: 'Volunteers',
  factContributors: (people: number) => `here now; ${count(people, 'person', 'people')} so far`,
  factDone: 'Done',
  factRounds: (done: string, all: string) => `${done} of ${all} rounds`,
  howTitle: 'How it works',
  how: [
    ['Fetch', 'Your tab downloads the shared weights and a share of the text.'],
    ['Train', 'It takes some dozens of training steps by itself, without talking to anyone.'],
    [
      'Bring',
      'It sends back the difference. The coordinator combines everyone’s, and the next round starts.',
    ],
  ],
  howNote:
    'The method is DiLoCo: many steps at home, then one meeting. That is why a home connection is enough.',
  whoTitle: 'Who runs this',
  who: (host: string) =>
    `The operator of ${host} chose the model and its text and can pause or end the run. Potluck is free software under the MIT licence; this page loads nothing from anywhere else.`,
}

/** Word and sentence of every state. */
const states = {
  ready: { word: 'Ready', text: 'Nothing runs until you click.' },
  insecure: {
    word: 'Not secure',
    text: (url: string) =>
      `This page came over plain HTTP, so the browser turns WebGPU off and training cannot start. Use ${url}.`,
    open: 'Open the secure page',
  },
  unsupported: {
    word: 'Not supported',
    text: (missing: string) =>
      `This browser has no ${missing}, so it cannot train. A current Chrome, Edge, Firefox or Safari can.`,
  },
  connecting: {
    word: 'Connecting',
    text: 'Connecting to the coordinator.',
    retry: (wait: string, attempt: string) =>
      `Can’t reach the server. Next try in ${wait} (number ${attempt}).`,
    retryNow: (attempt: string) => `Can’t reach the server. Trying again (number ${attempt}).`,
  },
  loading: {
    word: 'Getting ready',
    text: (bytes: string) => `Getting ready: ${bytes}.`,
    start: 'Getting ready.',
  },
  testing: {
    word: 'Testing',
    text: 'Testing this device, a few seconds.',
    backend: (backend: string) => `Testing this device with ${backend}, a few seconds.`,
  },
  training: {
    word: 'Training',
    text: (p: { step: string; steps: string; round: string; rate: string }) =>
      `Step ${p.step} of ${p.steps} in round ${p.round}, ${p.rate}.`,
    finishingWord: 'Finishing',
    finishing: (round: string, left: string) =>
      `Finishing round ${round}, then stopping. About ${left} left.`,
    finishingUnknown: (round: string) => `Finishing round ${round}, then stopping.`,
  },
  ahead: {
    word: 'Ahead',
    text: (round: string) =>
      `All steps for round ${round} are done. They are sent as soon as that round begins.`,
  },
  sending: { word: 'Sending', text: (bytes: string) => `Sending your update: ${bytes}.` },
  checking: {
    word: 'Checking',
    text: (round: string) => `Sent. The coordinator is checking your update for round ${round}.`,
  },
  paused: {
    word: 'Paused',
    held: (deadline: string) => `Paused by you. This round’s work is kept until ${deadline}.`,
    heldOpen: 'Paused by you. This round’s work is kept until the round closes.',
    free: 'Paused by you. You hold no work, so nothing is lost.',
  },
  stopped: {
    word: 'Stopped',
    text: (contributions: number, tokens: string) =>
      `Nothing is running. This visit: ${count(contributions, 'contribution')}, ${tokens} tokens. Thank you.`,
    none: 'Nothing is running. Thank you for looking in.',
  },
  removed: {
    word: 'Removed',
    text: (reason: string) =>
      `The operator removed this browser from the run: “${reason}”. Nothing is running, and it cannot join again.`,
  },
  'engine-lost': {
    word: 'Restarting',
    text: (hardware: string, restarts: string) =>
      `The ${hardware} stopped responding. Restarting it (number ${restarts}); some steps may be repeated.`,
    next: (backend: string, next: string) =>
      `${backend} stopped responding again. Going on with ${next}; some steps may be repeated.`,
  },
  'other-tab': {
    word: 'Other tab',
    text: 'Another tab is already contributing. One is enough. To use this one, stop the other first.',
  },
  failed: {
    word: 'Could not go on',
    text: (message: string, code: string) => `${message} (${code})`,
  },
}

/** Why there is no work now. Each says what happens next. */
const waiting = {
  word: 'Waiting',
  noRun: 'There is no run yet. When the operator creates one, this page notices by itself.',
  preparing: 'The run is being prepared: its text and first weights are being made.',
  notStarted: (device: string) =>
    `The operator has not started this run yet. Your ${device} is idle until then.`,
  gathering: (missing: number, quorum: string, present: string, device: string) =>
    `Waiting for ${missing} more ${missing === 1 ? 'volunteer' : 'volunteers'}. The round starts at ${quorum}; ${present} ${present === '1' ? 'is' : 'are'} here. Your ${device} is idle.`,
  gathered: 'Enough volunteers are here. The round is about to start.',
  roundFull: (round: string) => `Round ${round} has all the volunteers it needs. You join the next one.`,
  roundFullIn: (round: string, time: string) =>
    `Round ${round} has all the volunteers it needs. You join the next one in ${time} at the latest.`,
  roundFullInLine: (round: string) =>
    `Round ${round} has all the volunteers it needs. You are in line, and take the next place that comes free.`,
  contributed: (round: string) => `Your update for round ${round} is in. Waiting for the others.`,
  contributedFor: (round: string, others: number) =>
    `Your update for round ${round} is in. Waiting for ${count(others, 'other')}.`,
  contributedUntil: (round: string, others: number, time: string) =>
    `Your update for round ${round} is in. Waiting for ${count(others, 'other')}, until ${time} at the latest.`,
  setAside: (round: string) =>
    `Two updates from this tab were not used in round ${round}, so it sits this round out and joins the next. This is automatic.`,
  merging: (round: string) => `Round ${round} is being combined. The next one starts in a moment.`,
  paused: (device: string) => `The operator paused this run. Your ${device} is idle; it goes on by itself.`,
  completedWord: 'Completed',
  completed: (tokens: string, people: number) =>
    `Finished: ${tokens} tokens by ${count(people, 'person', 'people')}. Read below what the model writes now.`,
  endedWord: 'Ended',
  ended: (device: string) => `The operator ended this run. Your ${device} is idle. Thank you.`,
  failedWord: 'Run failed',
  failed: (problem: string) => `The run stopped on the server: ${problem} Nothing on your side caused it.`,
  failedUnknown: 'The run stopped on the server. Nothing on your side caused it.',
}

const meeting = {
  title: 'Other volunteers',
  agree: 'Exchange updates directly with other volunteers. They will see your IP address.',
  explain:
    'Small groups of browsers average their updates among themselves, and the server carries less. You can change this at any time.',
  direct: 'Your updates go to the server.',
  alone: 'Nobody to exchange with just now. Your updates go to the server.',
  linking: (others: number) => `Connecting to ${count(others, 'other volunteer')}.`,
  group: (others: number) => `Your updates go through a group with ${count(others, 'other volunteer')}.`,
  bytes: (sent: string, received: string, updates: string) =>
    `${sent} to and ${received} from other volunteers in this visit; updates sent through a group: ${updates}.`,
}

const running = {
  statusTitle: 'What is happening',
  pause: 'Pause',
  resume: 'Resume',
  finish: 'Finish round, then stop',
  stop: 'Stop now',
  stopTitle: 'Stop now?',
  stopText: (work: string) => `This round’s ${work} will not count.`,
  stopWorkSteps: (steps: number) => count(steps, 'step'),
  stopWorkTime: (steps: number, time: string) => `${count(steps, 'step')}, ${time} of work,`,
  stopWork: 'finished work',
  keepGoing: 'Keep going',
  nextRoundEnds: 'Round closes in',
  nextTry: 'Next try in',
  stale: (time: string) => `Live data stopped at ${time}. Showing the last known values.`,
  roundTitle: 'My round',
  stages: ['Fetch', 'Train', 'Send', 'Check'],
  roundNone: 'No work in hand. It appears here when a round gives you some.',
  stepLabel: (step: string, steps: string) => `step ${step} of ${steps}`,
  sendLabel: (bytes: string) => `${bytes} sent`,
  loadLabel: (bytes: string) => `${bytes} downloaded`,
  speed: 'Speed',
  deadline: 'Round closes',
  deadlineIn: (time: string) => `in ${time}`,
  upload: 'Upload',
  sendingMeanwhile: (bytes: string) => `${bytes} sent`,
  utilisation: 'Busy',
  evaluation: 'Evaluation',
  evaluationOf: (settled: string, slices: string) => `${settled} / ${slices}`,
  slices: 'Measurements',
  slicesNote: 'slices of the evaluation, done while waiting',
  utilisationNote: 'of the time in training steps',
  sent: 'Sent',
  received: 'Received',
  trafficNote: 'this visit',
  roundTraffic: 'Last round’s traffic',
  roundTrafficEach: (up: string, down: string) => `${up} up, ${down} down each`,
  less: 'Less to send',
  lessNote: 'than data parallelism for the same tokens',
  myLoss: 'Training loss',
  receiptsTitle: 'Receipts',
  receiptsNone: 'None yet. Every update you send gets a receipt here.',
  accepted: 'Accepted',
  acceptedText: (tokens: string) => `${tokens} tokens in the model`,
  repeated: 'Counted before, so not again.',
  notUsed: 'Not used',
  totalTitle: 'My total',
  totalName: (name: string) => `You are ${name}.`,
  steps: 'Steps',
  stepsNote: 'this visit',
  tokens: 'Tokens',
  tokensNote: 'in the model',
  contributions: 'Contributions',
  contributionsNote: 'accepted',
  backend: 'Trains with',
  backendNote: (memory: string) => `in ${memory}`,
  why: 'Why this one',
  compiling: (done: string, of: string) => `Preparing the GPU: ${done} of ${of} programs are ready.`,
  refused: (why: string) => `${why} This tab trains with TensorFlow.js instead, which is slower and right.`,
  fellBack: (from: string, to: string) =>
    `${from} kept stopping, so this tab now trains with ${to}, which may be slower. Nothing you sent is lost. To try ${from} again, press Stop and start again.`,
  measured: (backend: string, rate: string, note: string) =>
    `${backend}: ${rate}${note === '' ? '' : ` ${note}`}`,
  notMeasured: (backend: string, note: string) => `${backend}: ${note === '' ? 'not measured' : note}`,
  runTitle: 'The run',
  runNone: 'There is no run yet.',
  runRound: 'Round',
  runOf: (rounds: string) => `of ${rounds}`,
  runIn: 'Updates this round',
  runNeeded: (needed: string) => `of ${needed}`,
  runVolunteers: 'Volunteers now',
  sampleTitle: 'What it writes',
  sampleThen: 'Then: untrained',
  sampleNow: (round: string) => `Now: after round ${round}`,
  sampleLater: 'The next sample comes after the first round.',
  logTitle: 'What happened',
  logNone: 'Nothing yet.',
  copy: 'Copy',
  copied: 'Copied',
  read: 'Read current numbers',
  readText: (state: string, contributions: number, loss: string) =>
    `${state} You have ${count(contributions, 'accepted contribution')}. Held-out loss ${loss}.`,
}

export const volunteerEnglish = {
  title: (symbol: string, word: string) => `${symbol} ${word} · Potluck`,
  device: 'device',
  welcome,
  states,
  waiting,
  meeting,
  running,
}
