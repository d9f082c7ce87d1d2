/**
 * For tests: the Worker of engine.worker.ts with a door through which the test loses its GPU device, as a driver
 * reset would, or has it refuse work. No page uses it. The door is the channel named `FORCED_LOSS`.
 */
import './engine.worker.ts'
import { FORCED_LOSS, type Force } from './forcedLoss.ts'

let device: GPUDevice | null = null

const requestDevice = GPUAdapter.prototype.requestDevice
GPUAdapter.prototype.requestDevice = async function (descriptor) {
  device = await requestDevice.call(this, descriptor)
  return device
}

const FORCES: Record<Force, (device: GPUDevice) => void> = {
  lose: (device) => device.destroy(),
  /** A dispatch without a pipeline: a validation error that nothing catches. */
  refuse: (device) => {
    const encoder = device.createCommandEncoder()
    const pass = encoder.beginComputePass()
    pass.dispatchWorkgroups(1)
    pass.end()
    device.queue.submit([encoder.finish()])
  },
}

new BroadcastChannel(FORCED_LOSS).onmessage = ({ data }: MessageEvent<Force>) => {
  if (device !== null) FORCES[data](device)
}
