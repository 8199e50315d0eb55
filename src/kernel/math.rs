//! Our own exponential, sigmoid, tanh and logarithm on vectors: the same bits on every machine of a path.
//!
//! Errors against f64, measured over the ranges in the tests below: at most 3e-7 relative for all of them.
//!
//! Rounding to an integer `n` adds 1.5 · 2²³: the sum's low mantissa bits then hold `n`, and shifted into the exponent
//! they multiply by 2ⁿ. The polynomials are minimax fits (Remez), relative errors below 4e-9.

use super::simd::Simd;

/// 1.5 · 2²³
const MAGIC: f32 = 12_582_912.0;

/// Smallest and greatest argument of [`exp2`]; beyond them it gives their values. The smallest keeps every product of
/// probabilities and weights out of the denormal numbers, and is nothing beside a sum of 1.
const EXP2_RANGE: (f32, f32) = (-100.0, 127.0);

/// 2^x, with `x` held to −100 … 127. NaN gives NaN.
#[inline(always)]
pub(super) fn exp2<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.max(s.splat(EXP2_RANGE.0), x);
    let x = s.min(s.splat(EXP2_RANGE.1), x);
    let magic = s.add(x, s.splat(MAGIC));
    let f = s.sub(x, s.sub(magic, s.splat(MAGIC)));
    let mut p = s.splat(1.534_581_2e-4);
    p = s.fma(p, f, s.splat(1.339_993_1e-3));
    p = s.fma(p, f, s.splat(9.618_489e-3));
    p = s.fma(p, f, s.splat(5.550_329e-2));
    p = s.fma(p, f, s.splat(2.402_264_7e-1));
    p = s.fma(p, f, s.splat(std::f32::consts::LN_2));
    p = s.fma(p, f, s.splat(1.0));
    s.scale_exponent(p, magic)
}

/// e^x = w + w·p, as (w, p) with w a power of two and |p| < 0.42; `x` held to −87 … 88.
#[inline(always)]
fn exp_parts<S: Simd>(s: S, x: S::F) -> (S::F, S::F) {
    let x = s.max(s.splat(-87.0), x);
    let x = s.min(s.splat(88.0), x);
    let magic = s.fma(x, s.splat(std::f32::consts::LOG2_E), s.splat(MAGIC));
    let n = s.sub(magic, s.splat(MAGIC));
    // ln 2 in two parts, the first exact in few bits, so that n · ln 2 loses nothing.
    let r = s.fma(n, s.splat(-0.693_359_4), x);
    let r = s.fma(n, s.splat(2.121_944_4e-4), r);
    let mut q = s.splat(1.395_048e-3);
    q = s.fma(q, r, s.splat(8.368_882e-3));
    q = s.fma(q, r, s.splat(4.166_620_6e-2));
    q = s.fma(q, r, s.splat(1.666_652e-1));
    q = s.fma(q, r, s.splat(0.5));
    let p = s.fma(s.mul(r, r), q, r);
    (s.scale_exponent(s.splat(1.0), magic), p)
}

/// e^x, with `x` held to −87 … 88. NaN gives NaN.
#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    let (power, p) = exp_parts(s, x);
    s.fma(power, p, power)
}

/// 1 / (1 + e^−x)
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.zero(), x))))
}

/// tanh x = (e^2x − 1) / (e^2x + 1), exact to the last places near zero too.
#[inline(always)]
pub(super) fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.max(s.splat(-20.0), s.add(x, x));
    let x = s.min(s.splat(20.0), x);
    let (power, p) = exp_parts(s, x);
    let minus_one = s.fma(power, p, s.sub(power, s.splat(1.0)));
    s.div(minus_one, s.add(minus_one, s.splat(2.0)))
}

/// ln(1 + u) for u in 0 … 1, as 2 · atanh(u / (2 + u)).
#[inline(always)]
pub(super) fn ln_1p<S: Simd>(s: S, u: S::F) -> S::F {
    let t = s.div(u, s.add(u, s.splat(2.0)));
    let z = s.mul(t, t);
    let mut q = s.splat(2.688_361e-1);
    q = s.fma(q, z, s.splat(2.823_128e-1));
    q = s.fma(q, z, s.splat(4.000_778_2e-1));
    q = s.fma(q, z, s.splat(6.666_664e-1));
    s.fma(s.mul(t, z), q, s.add(t, t))
}

#[cfg(test)]
mod tests {
    #![allow(unsafe_code)]

    use super::super::dispatch::Task;
    use super::super::path::KernelPath;
    use super::*;

    /// One function over a slice, whole vectors.
    struct Map<'a>(&'a str, &'a mut [f32]);

    impl Task for Map<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for chunk in self.1.chunks_exact_mut(S::LANES) {
                // SAFETY: the chunk is one vector long.
                let x = unsafe { s.load(chunk.as_ptr()) };
                let y = match self.0 {
                    "exp2" => exp2(s, x),
                    "exp" => exp(s, x),
                    "sigmoid" => sigmoid(s, x),
                    "tanh" => tanh(s, x),
                    _ => ln_1p(s, x),
                };
                // SAFETY: as above.
                unsafe { s.store(chunk.as_mut_ptr(), y) };
            }
        }
    }

    /// The greatest relative error over `count` points of the range.
    fn worst(path: KernelPath, name: &str, range: (f64, f64), truth: fn(f64) -> f64) -> f64 {
        let count = 1 << 16;
        let points: Vec<f32> = (0..count)
            .map(|i| (range.0 + (range.1 - range.0) * i as f64 / (count - 1) as f64) as f32)
            .collect();
        let mut values = points.clone();
        path.dispatch(Map(name, &mut values));
        let errors = points.iter().zip(&values).map(|(&x, &y)| {
            let truth = truth(f64::from(x));
            if truth == 0.0 {
                f64::from(y).abs()
            } else {
                ((f64::from(y) - truth) / truth).abs()
            }
        });
        errors.fold(0.0, f64::max)
    }

    #[test]
    fn every_function_is_within_3e_7_relative() {
        let sigmoid: fn(f64) -> f64 = |x| 1.0 / (1.0 + (-x).exp());
        for path in KernelPath::testable() {
            for (name, range, truth) in [
                ("exp2", (-99.9, 126.9), f64::exp2 as fn(f64) -> f64),
                ("exp2", (-2.0, 2.0), f64::exp2),
                ("exp", (-86.9, 87.9), f64::exp),
                ("exp", (-1.0, 1.0), f64::exp),
                ("sigmoid", (-86.0, 86.0), sigmoid),
                ("sigmoid", (-3.0, 3.0), sigmoid),
                ("tanh", (-30.0, 30.0), f64::tanh),
                ("tanh", (-1.0, 1.0), f64::tanh),
                ("tanh", (1e-30, 1e-3), f64::tanh),
                ("ln_1p", (0.0, 1.0), f64::ln_1p),
                ("ln_1p", (1e-30, 1e-4), f64::ln_1p),
            ] {
                let worst = worst(path, name, range, truth);
                assert!(
                    worst < 3e-7,
                    "{} {name} over {range:?}: {worst:e}",
                    path.name()
                );
            }
        }
    }

    #[test]
    fn infinities_and_nan_come_out_as_limits_and_nan() {
        for path in KernelPath::testable() {
            let mut values =
                [[f32::INFINITY; 16], [f32::NEG_INFINITY; 16], [f32::NAN; 16]].concat();
            path.dispatch(Map("tanh", &mut values));
            assert_eq!((values[0], values[16]), (1.0, -1.0));
            assert!(values[32].is_nan());
            let mut values = [[1e30f32; 16], [-1e30; 16], [f32::NAN; 16]].concat();
            path.dispatch(Map("exp2", &mut values));
            assert_eq!((values[0], values[16]), (127f32.exp2(), (-100f32).exp2()));
            assert!(values[32].is_nan());
        }
    }
}
