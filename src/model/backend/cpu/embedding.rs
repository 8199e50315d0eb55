//! [`op::embedding`](crate::model::op::embedding) with a sparse gradient, which the workspace keeps: the table is all of the vocabulary,
//! and a window reads little of it.

use super::{Backend, FusedCpu, put_gradient, take_gradient};
use crate::batch::NO_TOKEN;
use crate::kernel::Bags;
use crate::model::matrix::Matrix;
use dfdx::prelude::*;

/// The rows `ids` of `table`: `(V, E)` gives `(N, E)`, zeros for [`NO_TOKEN`].
pub fn embedding<T: Tape<f32, Cpu>>(
    cpu: &FusedCpu,
    table: &Matrix<Cpu>,
    ids: &[u32],
) -> Matrix<Cpu, T> {
    let width = table.shape().1;
    let known: Vec<u32> = ids
        .iter()
        .map(|&id| if id == NO_TOKEN { 0 } else { id })
        .collect();
    let absent: Vec<usize> = (0..ids.len()).filter(|&row| ids[row] == NO_TOKEN).collect();
    let clear = move |rows: &mut [f32]| {
        absent
            .iter()
            .for_each(|&row| rows[row * width..][..width].fill(0.0))
    };
    let mut out = cpu.buffer(ids.len() * width);
    cpu.with(|it| it.kernels.embedding(table.values(), &known, &mut out));
    clear(&mut out);
    let out = cpu.matrix(out, (ids.len(), width));
    let (kept, cpu, mut tape) = (out.clone(), cpu.clone(), T::default());
    tape.add_backward_op(move |gradients| {
        let mut dout = take_gradient(gradients, &kept);
        clear(&mut dout);
        cpu.with(|it| {
            let gradient = &mut it.embedding;
            it.kernels
                .embedding_backward(&known, &dout, width, gradient);
        });
        put_gradient(gradients, &kept, dout);
        Ok(())
    });
    out.put_tape(tape)
}

/// For each set the sum of its rows of `table`: `(rows, E)` gives `(N, E)`. Its gradient is a whole table.
pub fn embedding_bag<T: Tape<f32, Cpu>>(
    cpu: &FusedCpu,
    table: &Matrix<Cpu>,
    bags: Bags,
) -> Matrix<Cpu, T> {
    let width = table.shape().1;
    let mut out = cpu.buffer(bags.len() * width);
    cpu.with(|it| it.kernels.embedding_bag(table.values(), bags, &mut out));
    let out = cpu.matrix(out, (bags.len(), width));
    let (kept, table, cpu) = (out.clone(), table.clone(), cpu.clone());
    let (masks, bits, mut tape) = (bags.masks.to_vec(), bags.bits, T::default());
    tape.add_backward_op(move |gradients| {
        let dout = take_gradient(gradients, &kept);
        let mut dtable = take_gradient(gradients, &table);
        let bags = Bags {
            masks: &masks,
            bits,
        };
        cpu.with(|it| it.kernels.embedding_bag_backward(bags, &dout, &mut dtable));
        put_gradient(gradients, &table, dtable);
        put_gradient(gradients, &kept, dout);
        Ok(())
    });
    out.put_tape(tape)
}
