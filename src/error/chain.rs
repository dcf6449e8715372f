//! An error's causes as text.

use std::error::Error;
use std::iter::successors;

/// The causes of an error, the nearest first, without the error itself.
#[must_use]
pub fn causes(error: &dyn Error) -> Vec<String> {
    successors(error.source(), |error| (*error).source()).map(ToString::to_string).collect()
}

/// An error and its causes on one line, joined by `: `.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    #[derive(Debug)]
    struct Link(&'static str, Option<Box<Link>>);

    impl fmt::Display for Link {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Link {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| -> &(dyn Error + 'static) { cause })
        }
    }

    #[test]
    fn causes_follow_the_error_and_leave_it_out() {
        let root = Link("no such file", None);
        let error = Link("gateway.yaml", Some(Box::new(Link("cannot be read", Some(Box::new(root))))));
        assert_eq!(causes(&error), ["cannot be read", "no such file"]);
        assert_eq!(with_causes(&error), "gateway.yaml: cannot be read: no such file");
    }
}
