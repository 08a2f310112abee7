//! What a command has to say, for `main` to print.

/// Text, a remark, and how the program ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// For standard output.
    pub stdout: String,
    /// One line for standard error, such as where files were written.
    pub note: Option<String>,
    /// 0 unless the command gives other codes a meaning.
    pub exit_code: u8,
}
