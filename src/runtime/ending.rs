//! Exit codes.

use std::process::ExitCode;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All done, or stopped as asked: everything is committed.
    Done,
    /// A failure that a person must mend; standard error says which.
    Failed,
    /// The command line, the environment or the file is wrong; nothing was started.
    Usage,
    /// The demo's check found a difference.
    Differs,
    /// The watchdog gave up on a thread. Nothing is lost: the open transaction is not committed.
    Stuck,
    /// A second signal: at once, the open transaction is not committed.
    Killed,
}

impl Ending {
    /// Every ending.
    pub const ALL: [Self; 6] = [Self::Done, Self::Failed, Self::Usage, Self::Differs, Self::Stuck, Self::Killed];

    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Differs => 3,
            Self::Stuck => 70,
            Self::Killed => 130,
        }
    }

    /// What the number means, in words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, or stopped as asked; everything is committed",
            Self::Failed => "failed; standard error says why and what to do",
            Self::Usage => "wrong command line, setting or file; nothing was started",
            Self::Differs => "demo: the recount differs",
            Self::Stuck => "a thread hung and the watchdog ended the process",
            Self::Killed => "a second signal ended the process at once",
        }
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(ending.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Ending;

    #[test]
    fn codes_differ() {
        let mut codes: Vec<u8> = Ending::ALL.iter().map(|e| e.code()).collect();
        codes.dedup();
        assert_eq!(codes.len(), Ending::ALL.len());
        assert_eq!(Ending::Done.code(), 0);
    }
}
