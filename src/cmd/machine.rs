//! The flags that say where a run is computed, shared by every command that computes; and how it is watched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use indicatif::{HumanDuration, ProgressBar};

use crate::device::{Device, DeviceChoice};
use crate::execute::Machine;
use crate::exit_code::OrUsage;
use crate::kernel::KernelPath;
use crate::run::Record;
use crate::tell;
use crate::terminal;
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

/// A part of a run that is computed on one machine.
pub struct Stretch {
    /// Where it is computed.
    pub machine: Machine,
    /// The step at which the next stretch goes on; none for the last one.
    pub until: Option<u64>,
}

impl MachineArgs {
    /// The machine that was asked for.
    ///
    /// # Errors
    /// When it cannot be had, as an error of usage.
    pub fn resolve(&self) -> Result<Machine> {
        self.resolve_on(self.device).or_usage()
    }

    /// The machines to execute a record again on, one after the other. What the arguments leave open is as it was recorded, where this
    /// computer has it, since other kernels give other bits: a run that was resumed on another path changes it at the same step again.
    pub fn resolve_as_recorded(&self, record: &Record) -> Result<Vec<Stretch>> {
        let mut stretches: Vec<Stretch> = Vec::new();
        for execution in record.telling_executions() {
            let recorded = &execution.environment;
            let mut machine = self
                .resolve_on(match self.device {
                    DeviceChoice::Auto if recorded.device == "cpu" => DeviceChoice::Cpu,
                    device => device,
                })
                .or_usage()?;
            if let (None, Ok(path)) = (&self.kernel_path, KernelPath::parse(&recorded.kernel_path))
            {
                machine.kernel_path = path;
            }
            if let Some(before) = stretches.last_mut() {
                let same_device = before.machine.device == machine.device;
                let same_path = before.machine.kernel_path == machine.kernel_path;
                if same_device && (same_path || machine.device != Device::Cpu) {
                    continue;
                }
                before.until = execution.from_step;
            }
            stretches.push(Stretch {
                machine,
                until: None,
            });
        }
        Ok(stretches)
    }

    fn resolve_on(&self, device: DeviceChoice) -> Result<Machine> {
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
        let (device, notice) = device.resolve()?;
        if let Some(notice) = &notice {
            tell!("{notice}");
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
        tell!("interrupted: stopping at the next safe point; once more to end at once");
    })
    .context("failed to listen for Ctrl-C")?;
    Ok(flag)
}

/// Time between the lines that tell of a run, on a standard error that is no terminal and in the run's log.
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
        Self {
            bar: terminal::bar("{bar:30} {pos}/{len} {msg} {eta} left"),
            last_line: None,
            first: None,
        }
    }

    /// Takes in one step. What is worth keeping of it is a line: when held-out pieces were scored, at the last step, and every 10 seconds.
    pub fn step(&mut self, progress: Progress) -> Option<String> {
        let Progress {
            step,
            steps,
            epoch,
            loss,
            tokens_per_second,
            valid,
        } = progress;
        let held_out = valid
            .map(|score| format!(", held out {score:.4}"))
            .unwrap_or_default();
        let text =
            format!("epoch {epoch}, loss {loss:.4}{held_out}, {tokens_per_second:.0} tokens/s");
        if let Some(bar) = &self.bar {
            bar.set_length(steps);
            bar.set_position(step);
            bar.set_message(text.clone());
        }
        let (started, first) = *self.first.get_or_insert((Instant::now(), step));
        let is_due = self
            .last_line
            .is_none_or(|last| last.elapsed() >= LINE_EVERY);
        let line = (is_due || valid.is_some() || step == steps).then(|| {
            let left = match step - first {
                0 => String::new(),
                done => {
                    let seconds =
                        (steps - step) as f64 * started.elapsed().as_secs_f64() / done as f64;
                    format!(", {} left", HumanDuration(Duration::from_secs_f64(seconds)))
                }
            };
            self.last_line = Some(Instant::now());
            format!("step {step}/{steps}, {text}{left}")
        });
        match (&self.bar, &line) {
            // The bar itself says where the training is in between.
            (Some(bar), Some(line)) if valid.is_some() => bar.println(line),
            (None, Some(line)) => tell!("{line}"),
            _ => {}
        }
        if let Some(bar) = self.bar.as_ref().filter(|_| step >= steps) {
            bar.finish_and_clear();
        }
        line
    }
}
