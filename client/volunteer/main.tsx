/** Entry of the volunteer page: makes the swarm client and draws what it shows. Nothing starts without a click. */
import '../ui/withoutEval.ts'
import '../ui/theme.css'
import '../ui/components.css'
import '../ui/controls.css'
import './volunteer.css'
import './work.css'
import { render } from 'preact'
import { createSwarm } from '../swarm/swarm.ts'
import { startClock } from '../ui/clock.ts'
import { Page } from './Page.tsx'

const root = document.getElementById('page')
if (root === null) throw new Error('index.html has no element #page')

startClock()
render(<Page {...createSwarm()} />, root)
