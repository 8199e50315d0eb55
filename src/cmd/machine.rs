//! The flags that say where a run is computed, shared by every command that computes; and how it is watched.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::device::DeviceChoice;
use crate::execute::Machine;
use crate::exit_code::OrUsage;
use crate::kernel::KernelPath;
use crate::training::Progress;

/// More threads than any machine has cores for only get in each other's way.
const MOST_THREADS: usize = 1024;

/// Where to compute.
#[derive(Debug, clap::Args)]
pub struct MachineArgs {
    /// auto, cpu, cuda or cuda:N; auto takes a GPU where this binary can use one
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads of the CPU [default: all]; the result does not depend on it
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Force a kernel path of the CPU: avx512bf16, avx512, avx2 or plain [default: the best this CPU has]
    #[arg(long, value_name = "PATH")]
    kernel_path: Option<String>,
}

impl MachineArgs {
    /// The machine that was asked for.
    ///
    /// # Errors
    /// When it cannot be had, as an error of usage.
    pub fn resolve(&self) -> Result<Machine> {
        self.machine().or_usage()
    }

    fn machine(&self) -> Result<Machine> {
        let threads = match self.threads {
            Some(threads) => threads,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        ensure!(
            (1..=MOST_THREADS).contains(&threads),
            "--threads must be from 1 to {MOST_THREADS}"
        );
        KernelPath::switched_off()?;
        let kernel_path = match &self.kernel_path {
            Some(name) => KernelPath::parse(name).context("--kernel-path")?,
            None => KernelPath::detect(),
        };
        let (device, notice) = self.device.resolve()?;
        if let Some(notice) = &notice {
            eprintln!("{notice}");
        }
        Ok(Machine {
            device,
            kernel_path,
            threads,
            notice,
        })
    }
}

/// A flag that Ctrl-C and a polite kill set; a second one ends the process at once.
pub fn interruption() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&flag);
    ctrlc::set_handler(move || {
        if shared.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(super::INTERRUPTED));
        }
        eprintln!("interrupted: stopping at the next safe point; once more to end at once");
    })
    .context("failed to listen for Ctrl-C")?;
    Ok(flag)
}

/// Time between the plain lines of a run whose standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows training on standard error: a bar with loss, speed and time left on a terminal, else plain lines.
pub struct Watch {
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
    /// When the first step was seen, and its number.
    first: Option<(Instant, u64)>,
}

impl Watch {
    /// Nothing is shown until the first step.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta} left")
                .expect("a fixed template");
            bar.set_style(style);
            bar
        });
        Self {
            bar,
            last_line: None,
            first: None,
        }
    }

    /// Takes in one step.
    pub fn step(&mut self, progress: Progress) {
        let Progress {
            step,
            steps,
            epoch,
            loss,
            tokens_per_second,
            valid,
        } = progress;
        let valid = valid
            .map(|score| format!(", held out {score:.4}"))
            .unwrap_or_default();
        let text = format!("epoch {epoch}, loss {loss:.4}{valid}, {tokens_per_second:.0} tokens/s");
        if let Some(bar) = &self.bar {
            bar.set_length(steps);
            bar.set_position(step);
            bar.set_message(text.clone());
            if !valid.is_empty() {
                bar.println(format!("step {step}/{steps}, {text}"));
            }
            if step >= steps {
                bar.finish_and_clear();
            }
            return;
        }
        let (started, first) = *self.first.get_or_insert((Instant::now(), step));
        let due = self
            .last_line
            .is_none_or(|last| last.elapsed() >= LINE_EVERY);
        if due || !valid.is_empty() || step == steps {
            let left = match step - first {
                0 => String::new(),
                done => {
                    let seconds =
                        (steps - step) as f64 * started.elapsed().as_secs_f64() / done as f64;
                    format!(", {} left", HumanDuration(Duration::from_secs_f64(seconds)))
                }
            };
            eprintln!("step {step}/{steps}, {text}{left}");
            self.last_line = Some(Instant::now());
        }
    }
}
