//! Optimizer updates in place: one parallel pass over parameter, gradient and state.
//!
//! The formulas are dfdx 0.13's. `g` is the gradient times a scale, which is how a caller clips: min(1, limit / norm), with the norm
//! from [`Kernels::squared_norm`]. A sparse gradient updates *every* row, those that it lacks with a gradient of zero: the same as the
//! dense one, bit for bit.

#![allow(unsafe_code)]

#[cfg(test)]
mod tests;

use super::context::Kernels;
use super::dispatch::Task;
use super::embedding::SparseGradient;
use super::simd::Simd;
use super::workspace::Shared;

/// Values handled by one task.
const TASK_VALUES: usize = 16 << 10;

/// Values whose squares are summed in f32 before they go to f64.
const SQUARES: usize = 1024;

/// Adam (Kingma & Ba 2015): m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g²,
/// p ← p − lr · m̂ / (√v̂ + ε) with m̂ = m / (1−β₁ᵗ), v̂ = v / (1−β₂ᵗ). State m, v starts at zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// t, from 1.
    pub step: u64,
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

/// How a parameter moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// States m and v.
    Adam(Adam),
    /// States s and, with momentum, b.
    RmsProp(RmsProp),
    /// State b, with momentum.
    Sgd(Sgd),
}

/// A parameter's gradient.
#[derive(Debug, Clone, Copy)]
pub enum Gradient<'a> {
    /// As long as the parameter.
    Dense(&'a [f32]),
    /// Some rows of a table; that of all others is zero.
    Sparse(&'a SparseGradient),
}

impl Kernels {
    /// Moves `param` by `rule` along `scale` times its gradient. A state that the rule keeps is as long as `param`; one that it does not
    /// keep may be empty.
    ///
    /// # Panics
    /// If a slice has another length, a row is not in the table, or Adam's step is zero.
    pub fn update(
        &mut self,
        rule: &Rule,
        param: &mut [f32],
        gradient: Gradient<'_>,
        scale: f32,
        state: [&mut [f32]; 2],
    ) {
        match *rule {
            Rule::Adam(adam) => self.update_by(adam.prepared(), param, gradient, scale, state),
            Rule::RmsProp(rmsprop) => self.update_by(rmsprop, param, gradient, scale, state),
            Rule::Sgd(sgd) => self.update_by(sgd, param, gradient, scale, state),
        }
    }

    fn update_by<R: Elementwise>(
        &mut self,
        rule: R,
        param: &mut [f32],
        gradient: Gradient<'_>,
        scale: f32,
        state: [&mut [f32]; 2],
    ) {
        let (len, used) = (param.len(), rule.states());
        for (state, used) in state.iter().zip(used) {
            assert!(
                state.len() == len || (!used && state.is_empty()),
                "optimizer state is as long as its parameter"
            );
        }
        let mut unit = TASK_VALUES;
        match gradient {
            Gradient::Dense(grad) => {
                assert_eq!(grad.len(), len, "a gradient is as long as its parameter");
            }
            Gradient::Sparse(SparseGradient { rows, values, .. }) => {
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
        }
        let param = Shared::of(param);
        let state = state.map(Shared::of);
        let path = self.path;
        self.pool.run(len.div_ceil(unit), &|_, task| {
            let first = task * unit;
            let len = unit.min(len - first);
            path.dispatch(Update {
                rule,
                scale,
                gradient,
                first,
                len,
                param,
                state,
                used,
            });
        });
    }

    /// The sum of the squares, the same bits for any number of threads. For a [`SparseGradient`] pass its `values`.
    pub fn squared_norm(&mut self, values: &[f32]) -> f64 {
        let tasks = values.len().div_ceil(TASK_VALUES);
        let mut sums = vec![0.0f64; tasks];
        let shared = Shared::of(&mut sums);
        let path = self.path;
        self.pool.run(tasks, &|_, task| {
            let values = &values[task * TASK_VALUES..((task + 1) * TASK_VALUES).min(values.len())];
            let sum = path.dispatch(Squares(values));
            // SAFETY: this task's own place.
            unsafe { shared.at(task).write(sum) };
        });
        sums.iter().sum()
    }
}

/// An update by elements.
trait Elementwise: Copy + Sync {
    /// Which of the two states it keeps.
    fn states(self) -> [bool; 2];
    /// The new parameter, and the new states.
    fn apply<S: Simd>(self, s: S, p: S::F, g: S::F, state: [S::F; 2]) -> (S::F, [S::F; 2]);
}

/// [`Adam`] with 1 / (1 − βᵗ).
#[derive(Clone, Copy)]
struct PreparedAdam {
    adam: Adam,
    corrections: [f32; 2],
}

impl Adam {
    fn prepared(self) -> PreparedAdam {
        assert!(self.step > 0, "Adam's steps count from 1");
        let correction = |beta: f32| (1.0 / (1.0 - f64::from(beta).powf(self.step as f64))) as f32;
        PreparedAdam {
            adam: self,
            corrections: [correction(self.beta1), correction(self.beta2)],
        }
    }
}

impl Elementwise for PreparedAdam {
    fn states(self) -> [bool; 2] {
        [true, true]
    }

    #[inline(always)]
    fn apply<S: Simd>(self, s: S, p: S::F, g: S::F, [m, v]: [S::F; 2]) -> (S::F, [S::F; 2]) {
        let Adam {
            learning_rate,
            beta1,
            beta2,
            epsilon,
            ..
        } = self.adam;
        let m = s.fma(m, s.splat(beta1), s.mul(g, s.splat(1.0 - beta1)));
        let squared = s.mul(s.mul(g, g), s.splat(1.0 - beta2));
        let v = s.fma(v, s.splat(beta2), squared);
        let root = s.sqrt(s.mul(v, s.splat(self.corrections[1])));
        let step = s.div(
            s.mul(m, s.splat(learning_rate * self.corrections[0])),
            s.add(root, s.splat(epsilon)),
        );
        (s.sub(p, step), [m, v])
    }
}

impl Elementwise for RmsProp {
    fn states(self) -> [bool; 2] {
        [true, self.momentum != 0.0]
    }

    #[inline(always)]
    fn apply<S: Simd>(self, s: S, p: S::F, g: S::F, [average, b]: [S::F; 2]) -> (S::F, [S::F; 2]) {
        let change = s.sub(s.mul(g, g), average);
        let average = s.fma(change, s.splat(1.0 - self.alpha), average);
        let u = s.div(g, s.sqrt(s.add(average, s.splat(self.epsilon))));
        let b = s.fma(b, s.splat(self.momentum), u);
        let step = s.mul(b, s.splat(self.learning_rate));
        (s.sub(p, step), [average, b])
    }
}

impl Elementwise for Sgd {
    fn states(self) -> [bool; 2] {
        [self.momentum != 0.0, false]
    }

    #[inline(always)]
    fn apply<S: Simd>(self, s: S, p: S::F, g: S::F, [b, unused]: [S::F; 2]) -> (S::F, [S::F; 2]) {
        let b = s.fma(b, s.splat(self.momentum), g);
        let step = s.mul(b, s.splat(self.learning_rate));
        (s.sub(p, step), [b, unused])
    }
}

/// An update of the values from `first`, `len` of them.
struct Update<'a, R> {
    rule: R,
    scale: f32,
    gradient: Gradient<'a>,
    first: usize,
    len: usize,
    param: Shared<'a>,
    state: [Shared<'a>; 2],
    used: [bool; 2],
}

impl<R: Elementwise> Task for Update<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let end = self.first + self.len;
        match self.gradient {
            Gradient::Dense(grad) => {
                self.stretch(s, self.first, end, Some(&grad[self.first..end]));
            }
            Gradient::Sparse(SparseGradient { rows, values, .. }) => {
                let width = values.len().checked_div(rows.len()).unwrap_or(1);
                let mut at = self.first;
                let touched = rows.partition_point(|&row| (row as usize) * width < self.first);
                for (index, &row) in rows.iter().enumerate().skip(touched) {
                    let row = row as usize * width;
                    if row >= end {
                        break;
                    }
                    // Rows are ascending, and tasks begin and end between rows.
                    self.stretch(s, at, row, None);
                    let grad = &values[index * width..][..width];
                    self.stretch(s, row, row + width, Some(grad));
                    at = row + width;
                }
                self.stretch(s, at, end, None);
            }
        }
    }
}

impl<R: Elementwise> Update<'_, R> {
    /// Updates the values from `first` to `end`, which are this task's; no gradient is a gradient of zero.
    #[inline(always)]
    fn stretch<S: Simd>(&self, s: S, first: usize, end: usize, grad: Option<&[f32]>) {
        let param = self.param.part(first, end - first);
        let states: [_; 2] = std::array::from_fn(|index| match self.used[index] {
            true => self.state[index].part(first, end - first),
            false => self.state[index].part(0, 0),
        });
        for at in (0..end - first).step_by(S::LANES) {
            let count = end - first - at;
            // SAFETY: `count` values are left of the parameter, of its gradient, and of each state in use.
            unsafe {
                let g = match grad {
                    None => s.zero(),
                    Some(grad) => {
                        let grad = s.load_up_to(grad.as_ptr().add(at), count);
                        s.mul(grad, s.splat(self.scale))
                    }
                };
                let mut state = [s.zero(); 2];
                for (index, value) in state.iter_mut().enumerate() {
                    if self.used[index] {
                        *value = s.load_up_to(states[index].at(at), count);
                    }
                }
                let p = param.at(at);
                let (new, state) = self.rule.apply(s, s.load_up_to(p, count), g, state);
                s.store_up_to(p, count, new);
                for (index, state) in state.into_iter().enumerate() {
                    if self.used[index] {
                        s.store_up_to(states[index].at(at), count, state);
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
    fn run<S: Simd>(self, s: S) -> f64 {
        let mut sum = 0.0;
        for values in self.0.chunks(SQUARES) {
            let mut acc = [s.zero(); 4];
            for (turn, at) in (0..values.len()).step_by(S::LANES).enumerate() {
                // SAFETY: at most what is left of the chunk is read.
                let value = unsafe { s.load_up_to(values.as_ptr().add(at), values.len() - at) };
                acc[turn % 4] = s.fma(value, value, acc[turn % 4]);
            }
            sum += f64::from(s.sum(s.add(s.add(acc[0], acc[1]), s.add(acc[2], acc[3]))));
        }
        sum
    }
}
