//! The table, for whoever runs it by hand.

use std::fmt::{self, Write};

use super::{Distribution, Liveness, Logged, Report, Requests};
use crate::ledger::MOST_REFUSED_PERCENT;
use crate::resources::Footprint;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = String::new();
        self.write_faults(&mut rows)?;
        self.write_requests(&mut rows)?;
        self.write_promises(&mut rows)?;
        f.write_str(&rows)?;
        let verdict = if self.kept {
            "every promise was kept"
        } else {
            "BROKEN:"
        };
        writeln!(f, "\nseed {}: {verdict}", self.seed)?;
        self.broken
            .iter()
            .try_for_each(|what| writeln!(f, "- {what}"))
    }
}

impl Report {
    fn write_faults(&self, to: &mut String) -> fmt::Result {
        writeln!(
            to,
            "\n{:<22}{:>8}{:>8}{:>12}{:>10}{:>10}{:>10}",
            "fault, recovery in ms", "struck", "healed", "median", "p99", "max", "of it held"
        )?;
        for (kind, faults) in &self.faults {
            let Distribution { p50, p99, max, .. } = faults.recovery;
            let (struck, healed, held) = (faults.struck, faults.healed, faults.held.p50);
            writeln!(
                to,
                "{kind:<22}{struck:>8}{healed:>8}{p50:>12.1}{p99:>10.1}{max:>10.1}{held:>10.0}"
            )?;
        }
        Ok(())
    }

    fn write_requests(&self, to: &mut String) -> fmt::Result {
        writeln!(
            to,
            "\n{:<22}{:>8}{:>8}{:>12}{:>10}{:>10}{:>10}",
            "requests", "all", "right", "refused", "unexcused", "wrong", "no answer"
        )?;
        let all = ("of well-behaved", &self.requests);
        let by_kind = self
            .by_kind
            .iter()
            .map(|(kind, requests)| (*kind, requests));
        for (kind, requests) in std::iter::once(all).chain(by_kind) {
            let Requests {
                all,
                right,
                refused,
                refused_without_a_fault,
                wrong,
                unanswered,
            } = requests;
            writeln!(
                to,
                "{kind:<22}{all:>8}{right:>8}{refused:>12}{refused_without_a_fault:>10}{wrong:>10}{unanswered:>10}"
            )?;
        }
        Ok(())
    }

    fn write_promises(&self, to: &mut String) -> fmt::Result {
        let share = self.requests.refused as f64 * 100.0 / self.requests.all.max(1) as f64;
        let most = MOST_REFUSED_PERCENT;
        writeln!(
            to,
            "\nrefused in all        {share:.2}% (less than {most}%)"
        )?;
        let Logged {
            acknowledged,
            rows,
            missing,
            twice,
            ..
        } = self.predictions_logged;
        writeln!(
            to,
            "predictions logged    {acknowledged} acknowledged, {rows} rows, {missing} missing, {twice} twice"
        )?;
        let Liveness { asked, failed } = self.liveness;
        writeln!(
            to,
            "liveness              asked {asked} times, failed {failed} times"
        )?;
        for (what, latencies) in [
            ("health answers", &self.health_latency),
            ("right answers", &self.request_latency),
        ] {
            writeln!(
                to,
                "{what:<22}{} ms while struck, {} ms otherwise (p50, p99, max)",
                latencies.struck, latencies.otherwise
            )?;
        }
        for (when, footprint) in [("before", self.before), ("after", self.after)] {
            let Footprint {
                resident,
                threads,
                descriptors,
                children,
                zombies,
            } = footprint;
            let mebibytes = resident as f64 / f64::from(1 << 20);
            writeln!(
                to,
                "{when:<22}{mebibytes:.1} MiB resident, {threads} threads, {descriptors} descriptors, \
                 {children} workers, {zombies} zombies"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, max, .. } = self;
        write!(f, "{p50:.1} / {p99:.1} / {max:.1}")
    }
}
