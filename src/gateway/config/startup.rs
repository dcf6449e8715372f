//! Options of the process that take effect only at the start, beside those that have a section of their own.

use crate::yaml::reader::Fields;

/// Options that every connection uses as they were at the start. A new one needs its field, its reading and its
/// comparison here, and its row in the schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartupOptions {
    /// True to write field names to HTTP/1.1 clients as `Content-Type`.
    pub http1_title_case: bool,
}

impl StartupOptions {
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let http1_title_case = match fields.optional("http1_title_case") {
            Some(item) => item.flag(),
            None => Some(false),
        };
        Some(Self { http1_title_case: http1_title_case? })
    }

    /// Keys whose value differs in `other`.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let Self { http1_title_case } = self;
        let differs = [("http1_title_case", *http1_title_case != other.http1_title_case)];
        differs.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }
}
