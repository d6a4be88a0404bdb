//! What the process and its machine use, looked up when the page is asked for.
//!
//! From `/proc`: elsewhere the numbers are absent. Names of the process are
//! Prometheus' own, those of the machine Supabase Realtime's.

use std::{
    fmt::Error,
    fs,
    sync::{Mutex, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

/// Clock ticks a second, which Linux has fixed for programs.
const TICKS: f64 = 100.0;

/// Numbers of the process and its machine.
#[derive(Debug, Default)]
pub struct Process {
    /// Busy and all ticks of the machine at the last look.
    last: Mutex<Option<(f64, f64)>>,
}

impl Process {
    /// Adds the numbers to a registry.
    pub fn register(registry: &mut Registry) {
        registry.register_collector(Box::new(Self::default()));
    }

    /// Percent of the machine's processors in use since the last look.
    fn utilization(&self, stat: &str) -> Option<f64> {
        let now = ticks(stat)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (busy, all) = last.replace(now).unwrap_or((0.0, 0.0));
        let elapsed = now.1 - all;
        Some(if elapsed > 0.0 { (now.0 - busy) / elapsed * 100.0 } else { 0.0 })
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut gauge = |name: &str, help: &str, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let metric = ConstGauge::new(value);
            let line = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            metric.encode(line)
        };
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (own, machine) = (read("/proc/self/stat"), read("/proc/stat"));
        gauge("process_resident_memory_bytes", "Memory in use", resident(&own))?;
        gauge("process_start_time_seconds", "When the process started", start(&own, &machine))?;
        gauge("process_open_fds", "Open files and sockets", open_files())?;
        let help = "Percent of the machine's processors in use since the last look";
        gauge("osmon_cpu_util", help, self.utilization(&machine))?;
        let load = read("/proc/loadavg");
        for (at, name) in ["osmon_cpu_avg1", "osmon_cpu_avg5", "osmon_cpu_avg15"].iter().enumerate()
        {
            gauge(name, "Load of the machine", number(load.split(' ').nth(at)))?;
        }
        let used = memory(&read("/proc/meminfo"));
        gauge("osmon_ram_usage", "Percent of the machine's memory in use", used)?;
        let Some(seconds) = field(&own, 13).zip(field(&own, 14)) else { return Ok(()) };
        let metric = ConstCounter::new((seconds.0 + seconds.1) / TICKS);
        let help = "Processor time used";
        let kind = metric.metric_type();
        metric.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, kind)?)
    }
}

fn number(text: Option<&str>) -> Option<f64> {
    text?.trim().parse().ok()
}

/// A field of `/proc/self/stat`, counted from 0. The second one is a name in
/// parentheses and may hold anything.
fn field(stat: &str, at: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    number(rest.split(' ').nth(at.checked_sub(2)?))
}

/// Pages have 4096 bytes wherever there are builds of Rowcast.
fn resident(stat: &str) -> Option<f64> {
    field(stat, 23).map(|pages| pages * 4096.0)
}

fn start(stat: &str, machine: &str) -> Option<f64> {
    let boot = machine.lines().find_map(|line| line.strip_prefix("btime "));
    Some(number(boot)? + field(stat, 21)? / TICKS)
}

fn open_files() -> Option<f64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u32::try_from(count).ok().map(f64::from)
}

/// Busy and all ticks of the machine.
fn ticks(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> =
        line.split_whitespace().take(8).filter_map(|text| number(Some(text))).collect();
    let all: f64 = ticks.iter().sum();
    // The fourth and fifth are idle and waiting for a disk.
    Some((all - ticks.get(3)? - ticks.get(4)?, all))
}

fn memory(info: &str) -> Option<f64> {
    let entry = |name: &str| {
        let rest = info.lines().find_map(|line| line.strip_prefix(name))?;
        number(rest.split_whitespace().next())
    };
    let (all, free) = (entry("MemTotal:")?, entry("MemAvailable:")?);
    (all > 0.0).then(|| (all - free) / all * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 17 18 100 20 2 22";
        assert_eq!((field(stat, 13), field(stat, 14)), (Some(250.0), Some(50.0)));
        assert_eq!(resident(stat), Some(2.0 * 4096.0));
        assert_eq!(start(stat, "cpu 1\nbtime 1000\n"), Some(1001.0));
        assert_eq!(resident(""), None);
    }

    #[test]
    fn the_machine_is_as_busy_as_it_was_since_the_last_look() {
        let process = Process::default();
        assert_eq!(process.utilization("cpu  50 0 0 50 0 0 0 0 9 9"), Some(50.0));
        assert_eq!(process.utilization("cpu  50 0 0 60 90 0 0 0 9 9"), Some(0.0));
        assert_eq!(process.utilization("cpu  149 0 0 60 91 0 0 0 9 9"), Some(99.0));
        assert_eq!(process.utilization("none"), None);
        assert_eq!(memory("MemTotal: 8 kB\nMemAvailable:   2 kB"), Some(75.0));
    }
}
