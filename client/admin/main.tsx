/** Entry of the operator's panel. */
import '../ui/withoutEval.ts'
import '../ui/theme.css'
import '../ui/components.css'
import '../ui/controls.css'
import './admin.css'
import { render } from 'preact'
import { startClock } from '../ui/clock.ts'
import { Admin } from './Admin.tsx'

const root = document.getElementById('page')
if (root === null) throw new Error('index.html has no element #page')

startClock()
render(<Admin />, root)
