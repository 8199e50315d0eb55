//! Times every large kernel at the shapes of the models, beside the CPU's own multiply-add rate.
//!
//! ```text
//! cargo bench --bench kernels -- [FILTER] [--dtype f32|bf16] [--threads N] [--path NAME] [--repeats N]
//! ```
//! FILTER keeps the rows whose name contains it. Each row: the medians of the repeats by the clock and by CPU time of
//! all threads, in milliseconds; GFLOP/s; the peak of this many threads, measured right before in CPU time; and the share of
//! it that the kernel reached, by the clock and by CPU time (which a loaded machine disturbs less).

use std::time::Instant;

use harness::kernel::{
    Adam, Bags, BitRange, Gradient, KernelPath, Kernels, Linear, LinearGradients, LstmGradients,
    LstmInput, LstmLayer, LstmShape, LstmTape, LstmWeights, Precision, Rule, SparseGradient,
    WeightRows, to_bf16,
};

struct Options {
    filter: String,
    precision: Precision,
    repeats: usize,
}

fn main() -> anyhow::Result<()> {
    let mut options = Options {
        filter: String::new(),
        precision: Precision::F32,
        repeats: 11,
    };
    let mut threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut path = KernelPath::detect();
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| anyhow::anyhow!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--threads" => threads = value()?.parse()?,
            "--repeats" => options.repeats = value()?.parse()?,
            "--path" => path = KernelPath::parse(&value()?)?,
            "--dtype" => {
                options.precision = match value()?.as_str() {
                    "f32" => Precision::F32,
                    "bf16" => Precision::Bf16,
                    other => anyhow::bail!("unknown dtype '{other}': f32 or bf16"),
                }
            }
            _ => options.filter = argument,
        }
    }
    let mut kernels = Kernels::new(path, threads, options.precision);
    println!(
        "path {}, {threads} threads, {:?}, median of {}",
        path.name(),
        options.precision,
        options.repeats
    );
    println!(
        "{:<28} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6}",
        "kernel", "ms", "cpu ms", "GFLOP/s", "peak", "share", "cpu"
    );

    for (model, positions, vocabulary) in [
        ("bach", 2500, 35_509),
        ("classical", 625, 132_437),
        ("muse", 2500, 39_289),
        ("muse_truncated", 2500, 21_510),
    ] {
        softmax(&mut kernels, &options, model, positions, 128, vocabulary);
        optimizer(&mut kernels, &options, model, positions, vocabulary);
    }
    lstm(
        &mut kernels,
        &options,
        "bach",
        LstmShape {
            time: 50,
            batch: 50,
            input: 128,
            hidden: 128,
        },
    );
    lstm(
        &mut kernels,
        &options,
        "classical",
        LstmShape {
            time: 25,
            batch: 25,
            input: 128,
            hidden: 128,
        },
    );
    sigmoid(&mut kernels, &options);
    generation(&mut kernels, &options);
    Ok(())
}

/// Runs `work` and prints its row; `flops` of zero leaves the rates out.
fn row(
    kernels: &mut Kernels,
    options: &Options,
    name: &str,
    flops: f64,
    mut work: impl FnMut(&mut Kernels),
) {
    if !name.contains(&options.filter) {
        return;
    }
    let mut operations = 0.0;
    let (_, seconds) = median(5, || operations = kernels.peak_operations());
    let peak = operations / seconds * kernels.threads() as f64;
    (0..2).for_each(|_| work(kernels));
    let (wall, cpu) = median(options.repeats, || work(kernels));
    let times = format!("{name:<28} {:>9.3} {:>9.3}", wall * 1e3, cpu * 1e3);
    if flops == 0.0 {
        return println!("{times}");
    }
    let threads = kernels.threads() as f64;
    let share = |seconds: f64| 100.0 * flops / seconds / peak;
    println!(
        "{times} {:>9.1} {:>9.1} {:>5.1}% {:>5.1}%",
        flops / wall / 1e9,
        peak / 1e9,
        share(wall),
        share(cpu / threads)
    );
}

/// Median seconds of `work`, by the clock and by the time its threads had a CPU.
fn median(repeats: usize, mut work: impl FnMut()) -> (f64, f64) {
    let mut times: Vec<(f64, f64)> = (0..repeats)
        .map(|_| {
            let (start, cpu) = (Instant::now(), cpu_seconds());
            work();
            (start.elapsed().as_secs_f64(), cpu_seconds() - cpu)
        })
        .collect();
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wall = times[repeats / 2].0;
    times.sort_by(|a, b| a.1.total_cmp(&b.1));
    (wall, times[repeats / 2].1)
}

/// CPU time of all threads of this process so far, from the first number of each `/proc/self/task/*/schedstat`; NaN where
/// the system has none.
fn cpu_seconds() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return f64::NAN;
    };
    let nanoseconds = tasks.flatten().map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace()
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(f64::NAN)
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// Numbers in −size … size that need no generator.
fn numbers(len: usize, size: f32) -> Vec<f32> {
    (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 * size - size)
        .collect()
}

fn tokens(len: usize, vocabulary: usize) -> Vec<u32> {
    (0..len as u64)
        .map(|i| (i * 7_919 % vocabulary as u64) as u32)
        .collect()
}

fn softmax(kernels: &mut Kernels, options: &Options, model: &str, n: usize, k: usize, v: usize) {
    let names = [
        format!("softmax_loss {model}"),
        format!("softmax_nll {model}"),
    ];
    if !names.iter().any(|name| name.contains(&options.filter)) {
        return;
    }
    let (h, w, bias) = (numbers(n * k, 1.0), numbers(v * k, 0.1), numbers(v, 0.1));
    let targets = tokens(n, v);
    let (mut dh, mut dw, mut db) = (vec![0.0; h.len()], vec![0.0; w.len()], vec![0.0; v]);
    let flops = 2.0 * (n * k * v) as f64;
    let projection = Linear {
        weight: &w,
        bias: &bias,
    };
    row(kernels, options, &names[0], 3.0 * flops, |kernels| {
        let gradients = LinearGradients {
            input: &mut dh,
            weight: &mut dw,
            bias: &mut db,
        };
        kernels.softmax_loss(&h, projection, &targets, 1.0 / n as f32, gradients);
    });
    let mut nll = vec![0.0; n];
    row(kernels, options, &names[1], flops, |kernels| {
        kernels.softmax_nll(&h, projection, &targets, &mut nll);
    });
}

fn optimizer(kernels: &mut Kernels, options: &Options, model: &str, n: usize, v: usize) {
    let names = [
        format!("adam {model} W"),
        format!("adam sparse {model}"),
        format!("embedding {model}"),
    ];
    if !names.iter().any(|name| name.contains(&options.filter)) {
        return;
    }
    let adam = Rule::Adam(Adam {
        step: 1,
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    });
    let mut param = numbers(v * 128, 0.1);
    let grad = numbers(v * 128, 0.01);
    let (mut m, mut s) = (vec![0.0; v * 128], vec![0.0; v * 128]);
    row(kernels, options, &names[0], 0.0, |kernels| {
        kernels.update(
            &adam,
            &mut param,
            Gradient::Dense(&grad),
            1.0,
            [&mut m, &mut s],
        );
    });
    let (ids, dout, mut gradient) = (
        tokens(n, v),
        numbers(n * 128, 0.01),
        SparseGradient::default(),
    );
    let mut out = vec![0.0; n * 128];
    row(kernels, options, &names[2], 0.0, |kernels| {
        kernels.embedding(&param, &ids, &mut out);
        kernels.embedding_backward(&ids, &dout, 128, &mut gradient);
    });
    kernels.embedding_backward(&ids, &dout, 128, &mut gradient);
    row(kernels, options, &names[1], 0.0, |kernels| {
        kernels.update(
            &adam,
            &mut param,
            Gradient::Sparse(&gradient),
            1.0,
            [&mut m, &mut s],
        );
    });
}

fn lstm(kernels: &mut Kernels, options: &Options, model: &str, shape: LstmShape) {
    let LstmShape {
        time,
        batch,
        input,
        hidden,
    } = shape;
    let rows = time * batch;
    let (w_ih, w_hh) = (
        numbers(4 * hidden * input, 0.09),
        numbers(4 * hidden * hidden, 0.09),
    );
    let (bias, x, dh) = (
        numbers(4 * hidden, 0.09),
        numbers(rows * input, 1.0),
        numbers(rows * hidden, 1.0),
    );
    let state = numbers(batch * hidden, 0.5);
    let layer = LstmLayer {
        shape,
        weights: LstmWeights {
            w_ih: &w_ih,
            w_hh: &w_hh,
            bias: &bias,
        },
        input: LstmInput::Vectors(&x),
        h0: &state,
        c0: &state,
    };
    let (mut tape, mut h, mut c) = (
        LstmTape::default(),
        vec![0.0; rows * hidden],
        vec![0.0; batch * hidden],
    );
    let (mut dx, mut dw_ih) = (vec![0.0; x.len()], vec![0.0; w_ih.len()]);
    let (mut dw_hh, mut db) = (vec![0.0; w_hh.len()], vec![0.0; bias.len()]);
    let flops = 2.0 * (rows * 4 * hidden * (input + hidden)) as f64;
    let name = format!("lstm_forward {model}");
    row(kernels, options, &name, flops, |kernels| {
        kernels.lstm_forward(layer, &mut tape, &mut h, &mut c);
    });
    let name = format!("lstm forward+backward {model}");
    row(kernels, options, &name, 3.0 * flops, |kernels| {
        kernels.lstm_forward(layer, &mut tape, &mut h, &mut c);
        let gradients = LstmGradients {
            input: &mut dx,
            w_ih: &mut dw_ih,
            w_hh: &mut dw_hh,
            bias: &mut db,
        };
        kernels.lstm_backward(layer, &mut tape, &h, &dh, gradients);
    });
}

fn sigmoid(kernels: &mut Kernels, options: &Options) {
    let n = 2500;
    let masks: Vec<u128> = (0..n as u32)
        .map(|i| 1 << (21 + i % 88) | 1 << (21 + i * 7 % 88) | 1 << 60)
        .collect();
    let (table, h, w, bias) = (
        numbers(88 * 128, 0.1),
        numbers(n * 128, 1.0),
        numbers(88 * 128, 0.1),
        numbers(88, 0.1),
    );
    let (mut x, mut logits) = (vec![0.0; n * 128], vec![0.0; n * 88]);
    let (mut dtable, mut dh, mut dw, mut db) = (table.clone(), h.clone(), w.clone(), bias.clone());
    let bags = Bags {
        masks: &masks,
        bits: BitRange {
            first: 21,
            rows: 88,
        },
    };
    row(kernels, options, "sigmoid embedding_bag", 0.0, |kernels| {
        kernels.embedding_bag(&table, bags, &mut x);
        kernels.embedding_bag_backward(bags, &h, &mut dtable);
    });
    let projection = Linear {
        weight: &w,
        bias: &bias,
    };
    let flops = 3.0 * 2.0 * (n * 128 * 88) as f64;
    row(kernels, options, "sigmoid head", flops, |kernels| {
        kernels.linear(&h, projection, &mut logits);
        kernels.sigmoid_loss(&mut logits, bags, 1.0, None);
        let gradients = LinearGradients {
            input: &mut dh,
            weight: &mut dw,
            bias: &mut db,
        };
        kernels.linear_backward(&h, projection, &logits, gradients);
    });
}

fn generation(kernels: &mut Kernels, options: &Options) {
    let (v, k) = (35_509, 128);
    let (h, w, bias) = (numbers(k, 1.0), numbers(v * k, 0.1), numbers(v, 0.1));
    let rounded = to_bf16(&w);
    let mut logits = vec![0.0; v];
    let flops = 2.0 * (v * k) as f64;
    row(kernels, options, "generate logits f32", flops, |kernels| {
        kernels.logits(&h, WeightRows::F32(&w), &bias, &mut logits);
    });
    row(kernels, options, "generate logits bf16", flops, |kernels| {
        kernels.logits(&h, WeightRows::Bf16(&rounded), &bias, &mut logits);
    });
    row(kernels, options, "generate sample", 0.0, |kernels| {
        std::hint::black_box(kernels.sample(&logits, 1.0, 0.7));
    });
    let (w_ih, bias) = (numbers(4 * k * k, 0.09), numbers(4 * k, 0.09));
    let weights = LstmWeights {
        w_ih: &w_ih,
        w_hh: &w_ih,
        bias: &bias,
    };
    let (mut state, mut c) = (numbers(k, 0.5), numbers(k, 0.5));
    row(kernels, options, "generate lstm_step", 0.0, |kernels| {
        kernels.lstm_step(weights, &h, &mut state, &mut c)
    });
}
