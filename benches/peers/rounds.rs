//! Rounds of measurements, and the table of ratios that comes out of them.

use std::io;

/// Measures once: operations per second.
type Measure = Box<dyn Fn() -> io::Result<f64>>;

/// One server doing one kind of work.
pub struct Contender {
    name: &'static str,
    measure: Measure,
    /// One per round.
    rates: Vec<f64>,
}

impl Contender {
    pub fn new(name: &'static str, measure: impl Fn() -> io::Result<f64> + 'static) -> Self {
        Self { name, measure: Box::new(measure), rates: Vec::new() }
    }
}

/// A line of the table: a contender against another.
#[derive(Clone, Copy)]
pub struct Row {
    pub ours: &'static str,
    pub peer: &'static str,
    /// The smallest ratio that we want.
    pub goal: Option<f64>,
}

/// The same work, done by several contenders.
pub struct Workload {
    pub name: &'static str,
    pub contenders: Vec<Contender>,
    pub rows: Vec<Row>,
}

impl Workload {
    /// Measures every contender once, in turn; every other round backwards, so that drift favours nobody.
    pub fn run(&mut self, round: usize) -> io::Result<()> {
        let mut turns: Vec<&mut Contender> = self.contenders.iter_mut().collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for contender in turns {
            contender.rates.push((contender.measure)()?);
        }
        Ok(())
    }

    fn rates(&self, name: &str) -> Option<&[f64]> {
        let contender = self.contenders.iter().find(|contender| contender.name == name);
        contender.map(|contender| contender.rates.as_slice())
    }

    /// Prints the rows; those without their peer are skipped. Returns how many were.
    pub fn print(&self) -> usize {
        let mut skipped = 0;
        for row in &self.rows {
            let work = format!("{}, {}", self.name, row.ours);
            match (self.rates(row.ours), self.rates(row.peer)) {
                (Some(ours), Some(peer)) => print_row(&work, row, ours, peer),
                _ => {
                    println!("SKIPPED {work} against {}: {}", row.peer, how_to_get(row.peer));
                    skipped += 1;
                }
            }
        }
        skipped
    }
}

fn how_to_get(peer: &str) -> &'static str {
    if peer.starts_with("docker-registry") {
        "install distribution, on Debian the package docker-registry"
    } else {
        "install nginx"
    }
}

pub fn print_head() {
    println!("| work | against | ours/s | peer/s | ratio | min..max | goal |");
    println!("|---|---|--:|--:|--:|---|---|");
}

fn print_row(work: &str, row: &Row, ours: &[f64], peer: &[f64]) {
    let ratios: Vec<f64> = ours.iter().zip(peer).map(|(ours, peer)| ours / peer).collect();
    let (low, middle, high) = spread(&ratios);
    let goal = match row.goal {
        None => String::from("-"),
        Some(goal) if middle >= goal => format!(">= {goal}: met"),
        Some(goal) => format!(">= {goal}: MISSED"),
    };
    let (ours, theirs) = (spread(ours).1, spread(peer).1);
    println!(
        "| {work} | {} | {ours:.0} | {theirs:.0} | {middle:.2} | {low:.2}..{high:.2} | {goal} |",
        row.peer
    );
}

/// Smallest, median and largest; of an even number the upper median.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    (at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}
