//! Optimizer updates in place: one parallel pass over parameter, gradient and state.
//!
//! The formulas are dfdx 0.13's. `g` is the gradient times `grad_scale`, which is how a caller clips:
//! min(1, limit / norm), with the norm from [`Kernels::squared_norm`]. The `_rows` forms take a table's gradient by its
//! touched rows and update *every* row, the others with a gradient of zero: the same as the dense forms, bit for bit.

#![allow(unsafe_code)]

#[cfg(test)]
mod tests;

use super::path::Task;
use super::simd::Simd;
use super::workspace::Shared;
use super::{Kernels, RowGradient};

/// Values handled by one task.
const TASK_VALUES: usize = 16 << 10;

/// Values whose squares are summed in f32 before they go to f64.
const SQUARES: usize = 1024;

/// Adam (Kingma & Ba 2015): m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g²,
/// p ← p − lr · m̂ / (√v̂ + ε) with m̂ = m / (1−β₁ᵗ), v̂ = v / (1−β₂ᵗ). State m, v starts at zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// lr
    pub learning_rate: f32,
    /// β₁
    pub beta1: f32,
    /// β₂
    pub beta2: f32,
    /// ε
    pub epsilon: f32,
}

/// RMSprop as in dfdx: s ← s + (1−α)(g² − s), u = g / √(s + ε), then p ← p − lr · u, or with momentum μ
/// b ← μb + u, p ← p − lr · b. dfdx starts s at one, b at zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsProp {
    /// lr
    pub learning_rate: f32,
    /// α
    pub alpha: f32,
    /// ε, inside the root.
    pub epsilon: f32,
    /// μ; zero for none.
    pub momentum: f32,
}

/// Gradient descent: b ← μb + g, p ← p − lr · b (classic momentum), or p ← p − lr · g where μ is zero. b starts at zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// lr
    pub learning_rate: f32,
    /// μ; zero for none.
    pub momentum: f32,
}

impl Kernels {
    /// One Adam update; `step` counts from 1. All slices are as long as `param`.
    ///
    /// # Panics
    /// If a slice has another length or `step` is zero.
    #[allow(clippy::too_many_arguments)]
    pub fn adam(
        &mut self,
        adam: &Adam,
        step: u64,
        grad_scale: f32,
        param: &mut [f32],
        grad: &[f32],
        m: &mut [f32],
        v: &mut [f32],
    ) {
        self.update(
            adam.at(step),
            grad_scale,
            param,
            Gradient::Dense(grad),
            [m, v],
        );
    }

    /// One Adam update of a table `(V, E)` from the gradient of its touched rows; `m` and `v` are as long as `table`.
    ///
    /// # Panics
    /// If a slice has the wrong length, a row is not in the table, or `step` is zero.
    #[allow(clippy::too_many_arguments)]
    pub fn adam_rows(
        &mut self,
        adam: &Adam,
        step: u64,
        grad_scale: f32,
        table: &mut [f32],
        gradient: &RowGradient,
        m: &mut [f32],
        v: &mut [f32],
    ) {
        self.update(
            adam.at(step),
            grad_scale,
            table,
            Gradient::Rows(gradient),
            [m, v],
        );
    }

    /// One RMSprop update. All slices are as long as `param`, but `velocity` may be empty where the momentum is zero.
    ///
    /// # Panics
    /// If a slice has another length.
    pub fn rmsprop(
        &mut self,
        rmsprop: &RmsProp,
        grad_scale: f32,
        param: &mut [f32],
        grad: &[f32],
        square_average: &mut [f32],
        velocity: &mut [f32],
    ) {
        self.update(
            *rmsprop,
            grad_scale,
            param,
            Gradient::Dense(grad),
            [square_average, velocity],
        );
    }

    /// One RMSprop update of a table from the gradient of its touched rows.
    ///
    /// # Panics
    /// If a slice has the wrong length or a row is not in the table.
    pub fn rmsprop_rows(
        &mut self,
        rmsprop: &RmsProp,
        grad_scale: f32,
        table: &mut [f32],
        gradient: &RowGradient,
        square_average: &mut [f32],
        velocity: &mut [f32],
    ) {
        self.update(
            *rmsprop,
            grad_scale,
            table,
            Gradient::Rows(gradient),
            [square_average, velocity],
        );
    }

    /// One SGD update. `grad` is as long as `param`, `velocity` too unless the momentum is zero, when it may be empty.
    ///
    /// # Panics
    /// If a slice has another length.
    pub fn sgd(
        &mut self,
        sgd: &Sgd,
        grad_scale: f32,
        param: &mut [f32],
        grad: &[f32],
        velocity: &mut [f32],
    ) {
        self.update(
            *sgd,
            grad_scale,
            param,
            Gradient::Dense(grad),
            [velocity, &mut []],
        );
    }

    /// One SGD update of a table from the gradient of its touched rows.
    ///
    /// # Panics
    /// If a slice has the wrong length or a row is not in the table.
    pub fn sgd_rows(
        &mut self,
        sgd: &Sgd,
        grad_scale: f32,
        table: &mut [f32],
        gradient: &RowGradient,
        velocity: &mut [f32],
    ) {
        self.update(
            *sgd,
            grad_scale,
            table,
            Gradient::Rows(gradient),
            [velocity, &mut []],
        );
    }

    /// The sum of the squares, the same bits for any number of threads. For a [`RowGradient`] pass its `values`.
    pub fn squared_norm(&mut self, values: &[f32]) -> f64 {
        let tasks = values.len().div_ceil(TASK_VALUES);
        let sums = self.product.losses.shared(2 * tasks);
        let path = self.path;
        self.pool.run(tasks, &|_, task| {
            let values = &values[task * TASK_VALUES..((task + 1) * TASK_VALUES).min(values.len())];
            let sum = path.dispatch(Squares(values));
            // SAFETY: eight bytes of this task's own, on a multiple of eight from the start of a cache line.
            unsafe { sums.at(2 * task).cast::<f64>().write(sum) };
        });
        // SAFETY: no task runs any more; each wrote its place.
        (0..tasks)
            .map(|task| unsafe { sums.at(2 * task).cast::<f64>().read() })
            .sum()
    }

    fn update<R: Rule>(
        &mut self,
        rule: R,
        grad_scale: f32,
        param: &mut [f32],
        gradient: Gradient<'_>,
        state: [&mut [f32]; 2],
    ) {
        let len = param.len();
        let used = rule.states();
        for (state, used) in state.iter().zip(used) {
            assert!(
                state.len() == len || (!used && state.is_empty()),
                "optimizer state is as long as its parameter"
            );
        }
        let mut unit = TASK_VALUES;
        if let Gradient::Dense(grad) = gradient {
            assert_eq!(grad.len(), len, "a gradient is as long as its parameter");
        }
        if let Gradient::Rows(RowGradient { rows, values, .. }) = gradient {
            let width = values.len().checked_div(rows.len()).unwrap_or(1);
            assert!(
                width > 0 && len.is_multiple_of(width) && values.len() == rows.len() * width,
                "rows are as wide as the table"
            );
            assert!(
                rows.last().is_none_or(|&row| (row as usize) < len / width),
                "every row is in the table"
            );
            unit = (TASK_VALUES / width).max(1) * width;
        }
        let param = Shared::of(param);
        let state = state.map(Shared::of);
        let path = self.path;
        self.pool.run(len.div_ceil(unit), &|_, task| {
            let first = task * unit;
            let len = unit.min(len - first);
            path.dispatch(Update {
                rule,
                grad_scale,
                gradient,
                first,
                len,
                param,
                state,
                used,
            });
        });
    }
}

/// A parameter's gradient.
#[derive(Clone, Copy)]
enum Gradient<'a> {
    Dense(&'a [f32]),
    Rows(&'a RowGradient),
}

/// An update by elements.
trait Rule: Copy + Sync {
    /// Which of the two states it keeps.
    fn states(self) -> [bool; 2];
    /// The new parameter, and the new states.
    ///
    /// # Safety
    /// The path's features are there.
    unsafe fn apply<S: Simd>(self, p: S::F, g: S::F, state: [S::F; 2]) -> (S::F, [S::F; 2]);
}

/// [`Adam`] at some step: with 1 / (1 − βᵗ).
#[derive(Clone, Copy)]
struct AdamAt {
    adam: Adam,
    corrections: [f32; 2],
}

impl Adam {
    fn at(self, step: u64) -> AdamAt {
        assert!(step > 0, "Adam's steps count from 1");
        let correction = |beta: f32| (1.0 / (1.0 - f64::from(beta).powf(step as f64))) as f32;
        AdamAt {
            adam: self,
            corrections: [correction(self.beta1), correction(self.beta2)],
        }
    }
}

impl Rule for AdamAt {
    fn states(self) -> [bool; 2] {
        [true, true]
    }

    #[inline(always)]
    unsafe fn apply<S: Simd>(self, p: S::F, g: S::F, [m, v]: [S::F; 2]) -> (S::F, [S::F; 2]) {
        let Adam {
            learning_rate,
            beta1,
            beta2,
            epsilon,
        } = self.adam;
        // SAFETY: this function's own condition.
        unsafe {
            let m = S::fma(m, S::splat(beta1), S::mul(g, S::splat(1.0 - beta1)));
            let v = S::fma(
                v,
                S::splat(beta2),
                S::mul(S::mul(g, g), S::splat(1.0 - beta2)),
            );
            let root = S::sqrt(S::mul(v, S::splat(self.corrections[1])));
            let step = S::div(
                S::mul(m, S::splat(learning_rate * self.corrections[0])),
                S::add(root, S::splat(epsilon)),
            );
            (S::sub(p, step), [m, v])
        }
    }
}

impl Rule for RmsProp {
    fn states(self) -> [bool; 2] {
        [true, self.momentum != 0.0]
    }

    #[inline(always)]
    unsafe fn apply<S: Simd>(self, p: S::F, g: S::F, [s, b]: [S::F; 2]) -> (S::F, [S::F; 2]) {
        // SAFETY: this function's own condition.
        unsafe {
            let s = S::fma(S::sub(S::mul(g, g), s), S::splat(1.0 - self.alpha), s);
            let u = S::div(g, S::sqrt(S::add(s, S::splat(self.epsilon))));
            let b = S::fma(b, S::splat(self.momentum), u);
            (S::sub(p, S::mul(b, S::splat(self.learning_rate))), [s, b])
        }
    }
}

impl Rule for Sgd {
    fn states(self) -> [bool; 2] {
        [self.momentum != 0.0, false]
    }

    #[inline(always)]
    unsafe fn apply<S: Simd>(self, p: S::F, g: S::F, [b, unused]: [S::F; 2]) -> (S::F, [S::F; 2]) {
        // SAFETY: this function's own condition.
        unsafe {
            let b = S::fma(b, S::splat(self.momentum), g);
            (
                S::sub(p, S::mul(b, S::splat(self.learning_rate))),
                [b, unused],
            )
        }
    }
}

/// An update of the values from `first`, `len` of them.
struct Update<'a, R> {
    rule: R,
    grad_scale: f32,
    gradient: Gradient<'a>,
    first: usize,
    len: usize,
    param: Shared,
    state: [Shared; 2],
    used: [bool; 2],
}

impl<R: Rule> Task for Update<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let end = self.first + self.len;
        match self.gradient {
            // SAFETY: the gradient is as long as the parameter.
            Gradient::Dense(grad) => unsafe {
                self.stretch::<S>(self.first, end, grad.as_ptr().add(self.first))
            },
            Gradient::Rows(RowGradient { rows, values, .. }) => {
                let width = values.len().checked_div(rows.len()).unwrap_or(1);
                let mut at = self.first;
                let touched = rows.partition_point(|&row| (row as usize) * width < self.first);
                for (index, &row) in rows.iter().enumerate().skip(touched) {
                    let row = row as usize * width;
                    if row >= end {
                        break;
                    }
                    // SAFETY: rows are ascending and in the table, tasks begin and end between rows.
                    unsafe {
                        self.stretch::<S>(at, row, std::ptr::null());
                        self.stretch::<S>(row, row + width, values.as_ptr().add(index * width));
                    }
                    at = row + width;
                }
                // SAFETY: as above.
                unsafe { self.stretch::<S>(at, end, std::ptr::null()) };
            }
        }
    }
}

impl<R: Rule> Update<'_, R> {
    /// Updates the values from `first` to `end`; a null gradient is zero.
    ///
    /// # Safety
    /// The range lies within this task's, and `grad`, unless null, holds as many values.
    #[inline(always)]
    unsafe fn stretch<S: Simd>(&self, first: usize, end: usize, grad: *const f32) {
        for at in (first..end).step_by(S::LANES) {
            let count = end - at;
            // SAFETY: at most `count` lanes are touched of every slice in use.
            unsafe {
                let g = match grad.is_null() {
                    true => S::zero(),
                    false => S::mul(
                        S::load_up_to(grad.add(at - first), count),
                        S::splat(self.grad_scale),
                    ),
                };
                let mut state = [S::zero(); 2];
                for (index, value) in state.iter_mut().enumerate() {
                    if self.used[index] {
                        *value = S::load_up_to(self.state[index].at(at), count);
                    }
                }
                let p = self.param.at(at);
                let (new, state) = self.rule.apply::<S>(S::load_up_to(p, count), g, state);
                S::store_up_to(p, count, new);
                for (index, state) in state.into_iter().enumerate() {
                    if self.used[index] {
                        S::store_up_to(self.state[index].at(at), count, state);
                    }
                }
            }
        }
    }
}

/// The sum of squares of a task's values.
struct Squares<'a>(&'a [f32]);

impl Task for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let mut sum = 0.0;
        for values in self.0.chunks(SQUARES) {
            // SAFETY: at most what is left of the chunk is read.
            unsafe {
                let mut acc = [S::zero(); 4];
                for (turn, at) in (0..values.len()).step_by(S::LANES).enumerate() {
                    let value = S::load_up_to(values.as_ptr().add(at), values.len() - at);
                    acc[turn % 4] = S::fma(value, value, acc[turn % 4]);
                }
                sum += f64::from(S::sum(S::add(
                    S::add(acc[0], acc[1]),
                    S::add(acc[2], acc[3]),
                )));
            }
        }
        sum
    }
}
