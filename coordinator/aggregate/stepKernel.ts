/**
 * The outer step, and the step of θ̂ that volunteers make, in WebAssembly with SIMD: the bits of applyOuterStep and
 * applyDelta in shared/diloco. Whole fours of values only; the plain functions do the rest.
 */

/** Values that a kernel takes at a time. */
export const FOUR = 4

/**
 * All are byte addresses, then the number of fours: newVelocity ← μ·velocity + sum/total, newExact ← exact − η·(sum/total + μ·that),
 * difference ← newExact − weights. `sum` holds f64, all else f32.
 */
export type OuterStepKernel = (
  sum: number,
  exact: number,
  velocity: number,
  weights: number,
  newExact: number,
  newVelocity: number,
  difference: number,
  fours: number,
  total: number,
  learningRate: number,
  momentum: number,
) => void

/** newWeights ← weights + difference; returns the largest magnitude of newWeights. */
export type Apply = (weights: number, difference: number, newWeights: number, fours: number) => number

const POINTERS = ['exact', 'velocity', 'weights', 'newExact', 'newVelocity', 'difference']
const UPPER = 'i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15'

/** Two values in f64, from the lower half of $v and $x; leaves them there, rounded to f32. */
const stepTwo = (offset: number, v: string, x: string) => `
  (local.set $mean (f64x2.div (v128.load offset=${offset} (local.get $sum)) (local.get $total)))
  (local.set $momentum (f64x2.add
    (f64x2.mul (local.get $mu) (f64x2.promote_low_f32x4 ${v}))
    (local.get $mean)))
  (local.set $moved (f64x2.sub
    (f64x2.promote_low_f32x4 ${x})
    (f64x2.mul (local.get $eta)
      (f64x2.add (local.get $mean) (f64x2.mul (local.get $mu) (local.get $momentum))))))`

const JOIN = 'i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23'

export const STEP_WAT = `
(func (export "step")
  (param $sum i32) ${POINTERS.map((name) => `(param $${name} i32)`).join(' ')} (param $fours i32)
  (param $totalWeight f64) (param $learningRate f64) (param $momentumFactor f64)
  (local $total v128) (local $eta v128) (local $mu v128)
  (local $v v128) (local $x v128) (local $mean v128) (local $momentum v128) (local $moved v128)
  (local $lowV v128) (local $lowX v128)
  (local.set $total (f64x2.splat (local.get $totalWeight)))
  (local.set $eta (f64x2.splat (local.get $learningRate)))
  (local.set $mu (f64x2.splat (local.get $momentumFactor)))
  (if (i32.eqz (local.get $fours)) (then (return)))
  (loop $four
    (local.set $v (v128.load (local.get $velocity)))
    (local.set $x (v128.load (local.get $exact)))
    ${stepTwo(0, '(local.get $v)', '(local.get $x)')}
    (local.set $lowV (f32x4.demote_f64x2_zero (local.get $momentum)))
    (local.set $lowX (f32x4.demote_f64x2_zero (local.get $moved)))
    ${stepTwo(16, `(${UPPER} (local.get $v) (local.get $v))`, `(${UPPER} (local.get $x) (local.get $x))`)}
    (local.set $v (${JOIN} (local.get $lowV) (f32x4.demote_f64x2_zero (local.get $momentum))))
    (local.set $x (${JOIN} (local.get $lowX) (f32x4.demote_f64x2_zero (local.get $moved))))
    (v128.store (local.get $newVelocity) (local.get $v))
    (v128.store (local.get $newExact) (local.get $x))
    (v128.store (local.get $difference) (f32x4.sub (local.get $x) (v128.load (local.get $weights))))
    (local.set $sum (i32.add (local.get $sum) (i32.const 32)))
    ${POINTERS.map((name) => `(local.set $${name} (i32.add (local.get $${name}) (i32.const 16)))`).join('\n')}
    (br_if $four (local.tee $fours (i32.sub (local.get $fours) (i32.const 1))))))`

const APPLY_POINTERS = ['weights', 'difference', 'newWeights']
const lane = (n: number) => `(f32x4.extract_lane ${n} (local.get $largest))`

export const APPLY_WAT = `
(func (export "apply")
  ${APPLY_POINTERS.map((name) => `(param $${name} i32)`).join(' ')} (param $fours i32) (result f32)
  (local $x v128) (local $largest v128)
  (if (i32.eqz (local.get $fours)) (then (return (f32.const 0))))
  (loop $four
    (local.set $x (f32x4.add (v128.load (local.get $weights)) (v128.load (local.get $difference))))
    (v128.store (local.get $newWeights) (local.get $x))
    (local.set $largest (f32x4.max (local.get $largest) (f32x4.abs (local.get $x))))
    ${APPLY_POINTERS.map((name) => `(local.set $${name} (i32.add (local.get $${name}) (i32.const 16)))`).join('\n')}
    (br_if $four (local.tee $fours (i32.sub (local.get $fours) (i32.const 1)))))
  (f32.max (f32.max ${lane(0)} ${lane(1)}) (f32.max ${lane(2)} ${lane(3)})))`
