//! `demo`: the canary guide, live. Ten requests go to v1; then the weights change under load, and the shares follow.
//! The end compares the expected and the measured results. The exit status is 1 if they differ.

use e2e::client::{Client, Load, Tally};
use e2e::guide::{Guide, Sidecar};
use e2e::httpbin::{OTHER, ROOT};
use e2e::{Result, is_share};
use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: demo [--sim] [--wasm FILE] [--command FILE] [--objects DIR]

  --sim           in the simulator instead of a real Envoy (needs the feature `simulator`)
  --wasm FILE     the filter                                  (dist/traffic-split.wasm)
  --command FILE  the traffic-split command                   (dist/traffic-split)
  --objects DIR   the guide's Services and TrafficSplits      (envoy/examples/guide)
";

/// The weights of v1 and v2 in each step. The guide itself has 100/0 and 50/50.
const RAMP: [(u32, u32); 4] = [(90, 10), (50, 50), (0, 100), (100, 0)];
const STEP: Duration = Duration::from_millis(2500);
/// The maximum duration of requests that were open when the weights changed.
const SETTLE: Duration = Duration::from_millis(300);
const CLIENTS: usize = 4;

fn main() -> ExitCode {
    let mut guide = Guide {
        command: "dist/traffic-split".into(),
        wasm: "dist/traffic-split.wasm".into(),
        objects: "envoy/examples/guide".into(),
    };
    let mut simulate = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let target = match argument.as_str() {
            "--sim" => {
                simulate = true;
                continue;
            }
            "--help" | "-h" => {
                print!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            "--wasm" => &mut guide.wasm,
            "--command" => &mut guide.command,
            "--objects" => &mut guide.objects,
            _ => return usage_error(&format!("unknown option {argument}")),
        };
        match arguments.next() {
            Some(path) => *target = PathBuf::from(path),
            None => return usage_error(&format!("{argument}: a path is missing")),
        }
    }
    let started = Instant::now();
    let mut screen = Screen::new();
    let outcome = guide.check().and_then(|()| {
        if simulate {
            simulated(&guide, &mut screen)
        } else {
            let mut proxy = InEnvoy::start(&guide)?;
            run_rollout(&guide, &mut proxy, &mut screen)
        }
    });
    match outcome {
        Ok(()) if screen.broken == 0 => {
            println!("\n{}", screen.bold(&format!("As promised, in {:.0} s.", started.elapsed().as_secs_f64())));
            ExitCode::SUCCESS
        }
        Ok(()) => {
            println!("\n{} of the promises above were not kept.", screen.broken);
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage_error(problem: &str) -> ExitCode {
    eprint!("demo: {problem}\n{USAGE}");
    ExitCode::from(2)
}

/// A host of the filter: a real Envoy or the simulator.
trait Proxy {
    /// Describes the host in one line.
    fn describe(&self) -> String;
    /// Applies the TrafficSplit with these weights.
    fn apply(&mut self, v1: u32, v2: u32) -> Result<()>;
    /// Sends one request to the root on a new connection. Returns the version and the text to print.
    fn ask(&mut self) -> Result<(String, String)>;
    /// Starts sending requests without a pause.
    fn start_load(&mut self);
    /// Returns the results since the start of the load.
    fn tally(&mut self) -> Result<Tally>;
    /// Stops the load. Returns the results besides the shares: whether each is as expected, and its text.
    fn finish(&mut self) -> Result<Vec<(bool, String)>>;
}

fn run_rollout(guide: &Guide, proxy: &mut dyn Proxy, screen: &mut Screen) -> Result<()> {
    println!("{}  {}", screen.bold("Canary rollout with SMI TrafficSplit"), screen.dim(&proxy.describe()));

    let first = guide.objects.join("trafficsplit-v1.yaml");
    println!("\n{}  {}", screen.bold("1  Everything to v1"), screen.dim(&first.display().to_string()));
    println!("{}", screen.dim(&specification(&first)?));
    println!("   GET http://{ROOT}/json");
    let mut from_v1 = 0;
    for number in 1..=10 {
        let (version, shown) = proxy.ask()?;
        from_v1 += u32::from(version == "httpbin-v1");
        println!("   {number:>2}  {}", screen.colour(&version, &shown));
    }
    screen.promise(from_v1 == 10, &format!("{from_v1} of 10 from httpbin-v1"));

    println!("\n{}  {}", screen.bold("2  The weights move, requests keep running"), screen.dim("v1 / v2"));
    proxy.start_load();
    let mut at = (100, 0);
    watch(proxy, screen, at, STEP / 2)?;
    for step in RAMP {
        proxy.apply(step.0, step.1)?;
        at = step;
        watch(proxy, screen, at, STEP)?;
    }

    println!("\n{}", screen.bold("3  What it cost"));
    for (kept, promise) in proxy.finish()? {
        screen.promise(kept, &promise);
    }
    debug_assert_eq!(at, (100, 0), "the ramp returns");
    Ok(())
}

/// Returns the `spec` of a TrafficSplit as in its file.
fn specification(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let lines = text.lines().skip_while(|line| !line.starts_with("spec:"));
    let lines = lines.take_while(|line| !line.starts_with("---")).filter(|line| !line.trim().is_empty());
    Ok(lines.map(|line| format!("     {line}")).collect::<Vec<_>>().join("\n"))
}

/// Shows the shares during one step, then reports whether they match the weights.
fn watch(proxy: &mut dyn Proxy, screen: &mut Screen, weights: (u32, u32), time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    let settled = Instant::now() + SETTLE;
    let mut base = None;
    let mut recent = VecDeque::new();
    let last = loop {
        let tally = proxy.tally()?;
        let now = Instant::now();
        if now >= settled && base.is_none() {
            base = Some(tally.clone());
        }
        recent.push_back((now, tally.clone()));
        while recent.front().is_some_and(|(then, _)| now - *then > Duration::from_millis(600)) {
            recent.pop_front();
        }
        if let Some((then, oldest)) = recent.front().filter(|(then, _)| *then < now) {
            screen.bars(weights, &tally.since(oldest), now - *then, tally.failed);
        }
        if now >= end {
            break tally;
        }
        std::thread::sleep(Duration::from_millis(80));
    };
    let seen = last.since(&base.unwrap_or_default());
    let (v1, v2, total) = (seen.of("httpbin-v1"), seen.of("httpbin-v2"), seen.total());
    let expected = f64::from(weights.0) / f64::from(weights.0 + weights.1);
    let kept = total > 100 && seen.failed == 0 && v1 + v2 == total && is_share(v1, total, expected, 5.0);
    screen.clear_bars();
    let line = format!(
        "{:>3} / {:<3}  {}  {:>5.1} % / {:>5.1} %  of {total} requests, {} failed",
        weights.0,
        weights.1,
        screen.both(v1, v2, 24),
        percent(v1, total),
        percent(v2, total),
        seen.failed
    );
    screen.promise(kept, &line);
    for error in seen.errors.iter().take(2) {
        println!("     {error}");
    }
    Ok(())
}

fn percent(part: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { 100.0 * part as f64 / total as f64 }
}

/// Output to a terminal or to a file.
struct Screen {
    live: bool,
    colours: bool,
    lines: usize,
    broken: u32,
}

impl Screen {
    fn new() -> Screen {
        let live = std::io::stdout().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen { live, colours: live && !no_colour, lines: 0, broken: 0 }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    fn colour(&self, version: &str, text: &str) -> String {
        match version {
            "httpbin-v1" => self.paint("34", text),
            "httpbin-v2" => self.paint("32", text),
            _ => text.to_owned(),
        }
    }

    fn promise(&mut self, kept: bool, text: &str) {
        if kept {
            println!(" {} {text}", self.paint("32", "✓"));
        } else {
            self.broken += 1;
            println!(" {} {text}", self.paint("31", "✗"));
        }
    }

    /// Returns one bar that v1 and v2 share.
    fn both(&self, v1: u64, v2: u64, width: usize) -> String {
        let first = (percent(v1, v1 + v2) * width as f64 / 100.0).round() as usize;
        let (left, right) = ("█".repeat(first), "▒".repeat(width - first.min(width)));
        format!("{}{}", self.colour("httpbin-v1", &left), self.colour("httpbin-v2", &right))
    }

    /// Draws one bar for each version in place; does nothing without a terminal.
    fn bars(&mut self, weights: (u32, u32), recent: &Tally, time: Duration, failed: u64) {
        const WIDTH: usize = 40;
        if !self.live {
            return;
        }
        let mut text = String::new();
        for (version, weight) in [("httpbin-v1", weights.0), ("httpbin-v2", weights.1)] {
            let share = percent(recent.of(version), recent.total());
            let filled = ((share * WIDTH as f64 / 100.0).round() as usize).min(WIDTH);
            let bar = format!("{}{}", "█".repeat(filled), " ".repeat(WIDTH - filled));
            text += &format!("   {version}  weight {weight:>3}  {} {share:>3.0} %\x1b[K\n", self.colour(version, &bar));
        }
        let rate = recent.total() as f64 / time.as_secs_f64();
        text += &self.dim(&format!("   {rate:>5.0} requests a second, {failed} failed"));
        text += "\x1b[K\n";
        self.clear_bars();
        print!("{text}");
        let _ = std::io::stdout().flush();
        self.lines = 3;
    }

    fn clear_bars(&mut self) {
        if self.lines > 0 {
            print!("\x1b[{}A\x1b[J", self.lines);
            self.lines = 0;
        }
    }
}

/// The guide in a real Envoy.
struct InEnvoy<'a> {
    guide: &'a Guide,
    sidecar: Sidecar,
    load: Option<(Load, Load)>,
}

impl<'a> InEnvoy<'a> {
    fn start(guide: &'a Guide) -> Result<InEnvoy<'a>> {
        Ok(InEnvoy { guide, sidecar: Sidecar::start(guide, 100, 0)?, load: None })
    }
}

impl Proxy for InEnvoy<'_> {
    fn describe(&self) -> String {
        let information = self.sidecar.envoy.admin("/server_info").unwrap_or_default();
        let information: serde_json::Value = serde_json::from_str(&information).unwrap_or_default();
        let version = information["version"].as_str().and_then(|version| version.split('/').nth(1));
        format!("in a real Envoy {}", version.unwrap_or_default())
    }

    fn apply(&mut self, v1: u32, v2: u32) -> Result<()> {
        self.sidecar.apply(self.guide, v1, v2)
    }

    fn ask(&mut self) -> Result<(String, String)> {
        let answer = Client::new(self.sidecar.port).get(ROOT, "/json", &[])?;
        if answer.status != 200 {
            return Err(format!("{ROOT} answered {} {}", answer.status, answer.text()).into());
        }
        Ok((answer.version(), format!("pod: {}", answer.pod())))
    }

    fn start_load(&mut self) {
        let port = self.sidecar.port;
        let root = Load::paced(port, ROOT, CLIENTS, Duration::from_millis(3));
        self.load = Some((root, Load::paced(port, OTHER, 1, Duration::from_millis(10))));
    }

    fn tally(&mut self) -> Result<Tally> {
        self.sidecar.envoy.check_running()?;
        Ok(self.load.as_ref().map(|(root, _)| root.tally()).unwrap_or_default())
    }

    fn finish(&mut self) -> Result<Vec<(bool, String)>> {
        let Some((root, other)) = self.load.take() else { return Err("no load was started".into()) };
        let (root, other) = (root.stop(), other.stop());
        let envoy = &mut self.sidecar.envoy;
        envoy.check_running()?;
        let modified = envoy.stat("listener_manager.listener_modified")?;
        let (requests, failed, opened) = (root.total(), root.failed, root.connections);
        let changes = RAMP.len();
        let (others, from_other) = (other.total(), other.of("other"));
        Ok(vec![
            (failed == 0 && requests > 0, format!("{requests} requests, {failed} failed")),
            (
                opened == CLIENTS as u64,
                format!("{changes} changes of weights, {opened} connections for {CLIENTS} clients: none was closed"),
            ),
            (modified == 0, format!("{modified} listeners modified, the same Envoy process throughout")),
            (
                others > 0 && others == from_other && other.connections == 1,
                format!("{others} requests to {OTHER} meanwhile, {from_other} answered by its own pod"),
            ),
        ])
    }
}

#[cfg(not(feature = "simulator"))]
fn simulated(_guide: &Guide, _screen: &mut Screen) -> Result<()> {
    Err("this demo was built without the simulator: build it with --features simulator".into())
}

#[cfg(feature = "simulator")]
fn simulated(guide: &Guide, screen: &mut Screen) -> Result<()> {
    let module = host_sim::Module::from_file(&guide.wasm).map_err(into_error)?;
    let mut proxy = simulator::InSimulator::start(guide, &module)?;
    run_rollout(guide, &mut proxy, screen)
}

#[cfg(feature = "simulator")]
fn into_error(error: impl std::fmt::Display) -> e2e::Error {
    e2e::Error(error.to_string())
}

/// The guide in the simulator: the filter selects a cluster, and no server answers. The output shows the cluster.
#[cfg(feature = "simulator")]
mod simulator {
    use super::{Guide, OTHER, Proxy, RAMP, ROOT, Result, Tally, into_error};
    use e2e::scratch::Scratch;

    const CLUSTER: &str = "x-traffic-split-cluster";

    pub struct InSimulator<'a> {
        guide: &'a Guide,
        scratch: Scratch,
        simulator: host_sim::Simulator,
        tally: Tally,
        others: u64,
        others_untouched: u64,
    }

    impl<'a> InSimulator<'a> {
        pub fn start(guide: &'a Guide, module: &host_sim::Module) -> Result<InSimulator<'a>> {
            let scratch = Scratch::new()?;
            let json = guide.render("plugin-config", &[], &guide.traffic_split(&scratch, 100, 0)?)?;
            let simulator = host_sim::Simulator::builder(module)
                .node_metadata("NAMESPACE", "curl")
                .configuration(json.as_str())
                .start()
                .map_err(into_error)?;
            Ok(InSimulator { guide, scratch, simulator, tally: Tally::default(), others: 0, others_untouched: 0 })
        }

        /// Returns the cluster that the filter selects for this authority.
        fn pick(&mut self, authority: &str) -> Option<String> {
            let request = self.simulator.request().get(&format!("http://{authority}/json"));
            let outcome = request.destination_port(14001).send();
            outcome.request_header(CLUSTER).map(|cluster| String::from_utf8_lossy(cluster).into_owned())
        }

        /// Sends a request to the root. Returns the version and its cluster.
        fn send(&mut self) -> Option<(String, String)> {
            let cluster = self.pick(ROOT)?;
            let version = ["httpbin-v1", "httpbin-v2"].into_iter().find(|version| cluster.contains(version))?;
            Some((version.to_owned(), cluster))
        }
    }

    impl Proxy for InSimulator<'_> {
        fn describe(&self) -> String {
            "in the simulator: the filter picks a cluster, no pod answers".to_owned()
        }

        fn apply(&mut self, v1: u32, v2: u32) -> Result<()> {
            let split = self.guide.traffic_split(&self.scratch, v1, v2)?;
            let json = self.guide.render("plugin-config", &[], &split)?;
            self.simulator.reconfigure(json.as_str()).map_err(into_error)
        }

        fn ask(&mut self) -> Result<(String, String)> {
            let (version, cluster) = self.send().ok_or("the filter picked no cluster")?;
            Ok((version, format!("cluster: {cluster}")))
        }

        fn start_load(&mut self) {}

        fn tally(&mut self) -> Result<Tally> {
            for _ in 0..80 {
                match self.send() {
                    Some((version, _)) => *self.tally.by_pod.entry(version).or_default() += 1,
                    None => self.tally.failed += 1,
                }
            }
            self.others += 1;
            self.others_untouched += u64::from(self.pick(OTHER).is_none());
            Ok(self.tally.clone())
        }

        fn finish(&mut self) -> Result<Vec<(bool, String)>> {
            let (requests, failed) = (self.tally.total(), self.tally.failed);
            let (others, untouched) = (self.others, self.others_untouched);
            let changes = RAMP.len();
            Ok(vec![
                (
                    failed == 0 && requests > 0,
                    format!("{requests} requests over {changes} changes of weights, {failed} without a cluster"),
                ),
                (
                    others > 0 && others == untouched,
                    format!("{others} requests to {OTHER} meanwhile, {untouched} left untouched"),
                ),
            ])
        }
    }
}
