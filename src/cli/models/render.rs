//! How far a download is, in one line.

use bytesize::ByteSize;

/// Cells of the bar.
const BAR: usize = 24;

/// How far a download is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Standing {
    pub(super) bytes_done: u64,
    /// 0 where it is not known.
    pub(super) bytes_total: u64,
    /// Bytes a second, lately.
    pub(super) speed: f64,
    /// What else there is to say.
    pub(super) note: String,
}

// === impl Standing ===

impl Standing {
    /// Renders the line, cut to the terminal.
    pub(super) fn line(&self, name: &str, width: Option<usize>) -> String {
        let mut line = format!("{name}  ");
        if self.bytes_total > 0 {
            let share = (self.bytes_done as f64 / self.bytes_total as f64).clamp(0.0, 1.0);
            let full = (share * BAR as f64) as usize;
            line.push_str(&format!(
                "{}{} {:3.0}%  {} of {}",
                "█".repeat(full),
                "░".repeat(BAR - full),
                share * 100.0,
                ByteSize(self.bytes_done),
                ByteSize(self.bytes_total),
            ));
        } else {
            line.push_str(&ByteSize(self.bytes_done).to_string());
        }
        if self.speed > 0.0 {
            line.push_str(&format!("  {}/s", ByteSize(self.speed as u64)));
            let left = self.bytes_total.saturating_sub(self.bytes_done) as f64 / self.speed;
            if self.bytes_total > 0 && left >= 1.0 {
                line.push_str(&format!("  {} left", crate::cli::words::ago(left)));
            }
        }
        if !self.note.is_empty() {
            line.push_str(&format!("  {}", self.note));
        }
        match width {
            Some(width) => line.chars().take(width.saturating_sub(1)).collect(),
            None => line,
        }
    }
}
