//! How fast this CPU multiplies and adds when it does nothing else: what the kernels' speed is measured against.

#![allow(unsafe_code)]

use std::time::Instant;

use super::path::FormatTask;
use super::product::Format;
use super::simd::Simd;
use super::{Kernels, Precision};

/// Sums kept in registers, enough to hide the latency of a multiply-add on every path.
const CHAINS: usize = 10;

/// Multiply-adds of each chain between two looks at the clock.
const TURNS: usize = 2_000_000;

impl Kernels {
    /// Floating-point operations per second (two to a multiply-add) of independent chains in registers, all threads
    /// together. Takes some milliseconds; the rate varies with the clock, so measure it close to what it is compared with.
    ///
    /// In bf16 without the dot product instruction this is the rate of the emulation.
    pub fn peak_rate(&mut self, precision: Precision) -> f64 {
        let tasks = self.pool.threads();
        let path = self.path;
        let pair = if precision == Precision::Bf16 { 2 } else { 1 };
        let start = Instant::now();
        self.pool.run(tasks, &|_, _| {
            std::hint::black_box(path.dispatch_in(precision, Chains));
        });
        let operations = tasks * TURNS * CHAINS * pair * 2 * path.shape().lanes;
        operations as f64 / start.elapsed().as_secs_f64()
    }
}

struct Chains;

impl FormatTask for Chains {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd, M: Format>(self) -> f32 {
        // SAFETY: registers only; the dispatcher chose `S` for this CPU.
        unsafe {
            let a = S::splat(std::hint::black_box(0.0));
            let mut sums = [S::zero(); CHAINS];
            for _ in 0..TURNS {
                for sum in &mut sums {
                    *sum = M::mac::<S>(*sum, a, *sum);
                }
            }
            let mut total = S::zero();
            for sum in sums {
                total = S::add(total, sum);
            }
            S::sum(total)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::KernelPath;
    use super::*;

    #[test]
    fn a_cpu_does_at_least_a_hundred_million_operations_a_second() {
        assert!(Kernels::new(KernelPath::detect(), 1).peak_rate(Precision::F32) > 1e8);
    }
}
