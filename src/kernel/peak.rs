//! How fast this CPU multiplies and adds when it does nothing else: what the kernels' speed is measured against.

use super::context::Kernels;
use super::dispatch::FormatTask;
use super::product::Format;
use super::simd::Simd;

/// Sums kept in registers, enough to hide the latency of a multiply-add on every path.
const CHAINS: usize = 10;

/// Multiply-adds of each chain.
const TURNS: usize = 20_000_000;

impl Kernels {
    /// Runs independent chains of multiply-adds in registers on every thread, some tens of milliseconds of nothing else, and
    /// returns the number of floating-point operations (two per multiply-add). The caller measures the time.
    ///
    /// In bf16 without the dot product instruction these are the operations of the emulation.
    pub fn peak_operations(&mut self) -> f64 {
        let tasks = self.pool.threads();
        let (path, precision) = (self.path, self.precision);
        self.pool.run(tasks, &|_, _| {
            std::hint::black_box(path.dispatch_in(precision, Chains));
        });
        (tasks * TURNS * CHAINS * precision.pair() * 2 * path.shape().lanes) as f64
    }
}

struct Chains;

impl FormatTask for Chains {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd, M: Format>(self, s: S) -> f32 {
        let a = s.splat(std::hint::black_box(0.0));
        let mut sums = [s.zero(); CHAINS];
        for _ in 0..TURNS {
            for sum in &mut sums {
                *sum = M::mac(s, *sum, a, *sum);
            }
        }
        let mut total = s.zero();
        for sum in sums {
            total = s.add(total, sum);
        }
        s.sum(total)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{KernelPath, Precision};
    use super::*;

    #[test]
    fn operations_are_counted_by_thread_and_lane() {
        let count = Kernels::new(KernelPath::Plain, 2, Precision::F32).peak_operations();
        assert_eq!(count, 2.0 * 2.0 * 4.0 * (TURNS * CHAINS) as f64);
    }
}
