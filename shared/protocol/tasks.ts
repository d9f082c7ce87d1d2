/** Zero-shot tasks as the operator meets them: what a run measures, what is imported, what is asked for. */
import { z } from 'zod'
import { TASK_NAMES, type TaskName } from '../evaluate/tasks.ts'
import { LIMITS } from './limits.ts'
import { idSchema } from './names.ts'

export const taskNameSchema = z.enum(TASK_NAMES)
/** Each once. */
const namesSchema = z
  .array(taskNameSchema)
  .min(1)
  .max(TASK_NAMES.length)
  .refine((names) => new Set(names).size === names.length, { message: 'each task once' })
/** The first so many of a task's examples. */
const examplesSchema = z.number().int().min(1).max(LIMITS.tasks.examples)

/** Which tasks a run is measured on, and when. */
export const taskRulesSchema = z.strictObject({
  /** After every round that this divides; 0 for never. */
  every: z.number().int().min(0).max(1_000_000),
  examples: examplesSchema,
  names: namesSchema,
})
export type TaskRules = z.infer<typeof taskRulesSchema>

export const USUAL_TASKS: TaskRules = { every: 0, examples: 500, names: [...TASK_NAMES] }

/** POST /api/admin/runs/:id/tasks: measures the newest weights now; what is left out is as the run's config says. */
export const measureTasksSchema = z.strictObject({
  names: namesSchema.optional(),
  examples: examplesSchema.optional(),
})
export type MeasureTasks = z.infer<typeof measureTasksSchema>
export const runParamsSchema = z.strictObject({ id: idSchema })

/** A task whose examples were imported. */
export interface TaskRow {
  readonly name: TaskName
  readonly examples: number
  /** Where they came from, as the operator gave it. */
  readonly source: string
  /** Unix milliseconds. */
  readonly at: number
}

/** How far a task is that is being measured. */
export interface TaskProgress {
  readonly task: TaskName
  readonly round: number
  readonly done: number
  readonly of: number
}
