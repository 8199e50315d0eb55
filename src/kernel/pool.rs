//! A few persistent threads, which share the numbered tasks of one job at a time.

#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// Turns of the spin loop before a waiting thread sleeps: about a hundred microseconds, the gap between two jobs of a step.
const SPINS: usize = 6_000;

/// A job: called with (worker, task).
type Job = *const (dyn Fn(usize, usize) + Sync);

/// Persistent worker threads; the caller of [`Pool::run`] works with them.
pub(super) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    done: Condvar,
    /// Number of jobs announced, for workers that spin.
    announced: AtomicUsize,
    /// Next task of the current job.
    next: AtomicUsize,
    /// Workers that still have to leave the current job.
    busy: AtomicUsize,
    panicked: AtomicBool,
}

struct State {
    announced: usize,
    job: Option<Job>,
    tasks: usize,
    stop: bool,
    /// Workers that sleep, and whether the caller does: nobody else has to be woken, which would cost a system call a job.
    sleeping: usize,
    caller_sleeps: bool,
}

// SAFETY: the job's pointer is only followed between its announcement and the last worker's leaving, while `Pool::run`
// keeps what it points to alive; the closure behind it is `Sync`.
unsafe impl Send for State {}

impl Pool {
    /// `threads` threads, the caller's included; zero counts as one.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                announced: 0,
                job: None,
                tasks: 0,
                stop: false,
                sleeping: 0,
                caller_sleeps: false,
            }),
            wake: Condvar::new(),
            done: Condvar::new(),
            announced: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        });
        let workers = (1..threads.max(1))
            .map(|worker| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("kernel-{worker}"))
                    .spawn(move || shared.work(worker))
                    .expect("the system can start the threads that were asked for")
            })
            .collect();
        Self { shared, workers }
    }

    /// Number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `job(worker, task)` once for every task below `tasks` and returns when all are done.
    ///
    /// `worker` is below [`Pool::threads`], and no two calls with the same worker overlap: it names scratch memory.
    /// Which worker gets a task is left to chance, so results must not depend on it.
    ///
    /// # Panics
    /// If a task panicked.
    pub fn run(&mut self, tasks: usize, job: &(dyn Fn(usize, usize) + Sync)) {
        if self.workers.is_empty() || tasks <= 1 {
            (0..tasks).for_each(|task| job(0, task));
            return;
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. This function does not return, nor unwind, before `busy` is zero again,
        // after which no worker touches the job.
        let job: Job = unsafe { std::mem::transmute::<&(dyn Fn(usize, usize) + Sync), Job>(job) };
        shared.next.store(0, Ordering::Relaxed);
        shared.busy.store(self.workers.len(), Ordering::Relaxed);
        let (announced, sleeping) = {
            let mut state = shared
                .state
                .lock()
                .expect("no thread panics while it holds the lock");
            state.job = Some(job);
            state.tasks = tasks;
            state.announced += 1;
            (state.announced, state.sleeping)
        };
        // After the lock is free, since whoever spins on this takes it next.
        shared.announced.store(announced, Ordering::Release);
        if sleeping > 0 {
            shared.wake.notify_all();
        }
        shared.take_tasks(0, job, tasks);
        if !spin_until(|| shared.busy.load(Ordering::Acquire) == 0) {
            let mut state = shared
                .state
                .lock()
                .expect("no thread panics while it holds the lock");
            state.caller_sleeps = true;
            while shared.busy.load(Ordering::Acquire) != 0 {
                state = shared
                    .done
                    .wait(state)
                    .expect("no thread panics while it holds the lock");
            }
            state.caller_sleeps = false;
        }
        assert!(
            !shared.panicked.swap(false, Ordering::Relaxed),
            "a kernel task panicked (its message is above)"
        );
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Ok(mut state) = self.shared.state.lock() {
            state.stop = true;
            state.announced += 1;
            self.shared
                .announced
                .store(state.announced, Ordering::Release);
        }
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches its tasks' panics, so joining can only fail if it was killed from outside.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn work(&self, worker: usize) {
        let mut seen = 0;
        loop {
            spin_until(|| self.announced.load(Ordering::Acquire) != seen);
            let mut state = self
                .state
                .lock()
                .expect("no thread panics while it holds the lock");
            state.sleeping += 1;
            while state.announced == seen {
                state = self
                    .wake
                    .wait(state)
                    .expect("no thread panics while it holds the lock");
            }
            state.sleeping -= 1;
            seen = state.announced;
            if state.stop {
                return;
            }
            let (job, tasks) = (
                state.job.expect("an announcement brings a job"),
                state.tasks,
            );
            drop(state);
            self.take_tasks(worker, job, tasks);
            if self.busy.fetch_sub(1, Ordering::AcqRel) == 1 {
                // Under the lock, the caller is either still looking or already asleep.
                let state = self
                    .state
                    .lock()
                    .expect("no thread panics while it holds the lock");
                if state.caller_sleeps {
                    self.done.notify_all();
                }
            }
        }
    }

    fn take_tasks(&self, worker: usize, job: Job, tasks: usize) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let task = self.next.fetch_add(1, Ordering::Relaxed);
                if task >= tasks {
                    return;
                }
                // SAFETY: `Pool::run` keeps the closure alive until every worker has left this function.
                unsafe { (*job)(worker, task) };
            }
        }));
        if result.is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
    }
}

/// Spins for a short while; whether `ready` came true.
fn spin_until(ready: impl Fn() -> bool) -> bool {
    for _ in 0..SPINS {
        if ready() {
            return true;
        }
        std::hint::spin_loop();
    }
    ready()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_job_after_job() {
        for threads in [1, 2, 5] {
            let mut pool = Pool::new(threads);
            for tasks in [0, 1, 2, 7, 100] {
                let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, &|worker, task| {
                    assert!(worker < threads);
                    counts[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    counts
                        .iter()
                        .all(|count| count.load(Ordering::Relaxed) == 1)
                );
            }
        }
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_the_pool_lives_on() {
        let mut pool = Pool::new(3);
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.run(9, &|_, task| assert!(task != 5))
        }));
        assert!(result.is_err());
        pool.run(4, &|_, _| {});
    }
}
