//! Set of request methods.

use std::fmt;

use http::Method;

/// Set of the methods that a route can have (RFC 9110, section 9, and RFC 5789).
///
/// CONNECT and TRACE are not among them: a gateway must not forward them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Methods(u8);

impl Methods {
    /// Every possible method, in display order.
    pub const ALL: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];

    /// Set of one method; empty if no route can have it. Methods are case-sensitive.
    #[must_use]
    pub fn of(method: &Method) -> Self {
        Self::ALL.iter().position(|known| known == method).map_or(Self(0), |bit| Self(1 << bit))
    }

    /// Methods that give the content of a request a meaning (RFC 9110, section 9.3, and RFC 5789).
    const WITH_CONTENT: [Method; 3] = [Method::POST, Method::PUT, Method::PATCH];

    /// Return true if the content of a request with `method` has a meaning. Servers that ignore other content may
    /// take it for the next request.
    #[must_use]
    pub fn define_content(method: &Method) -> bool {
        Self::WITH_CONTENT.contains(method)
    }

    /// Methods of the set whose content has no meaning.
    #[must_use]
    pub fn without_content(self) -> Self {
        let defined: Self = Self::WITH_CONTENT.iter().map(Self::of).collect();
        Self(self.0 & !defined.0)
    }

    /// Return true if the sets have a method in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Return true for the empty set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Intersection of the sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Union of the sets.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Self> for Methods {
    fn from_iter<I: IntoIterator<Item = Self>>(sets: I) -> Self {
        sets.into_iter().fold(Self::default(), Self::or)
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            Self::ALL.iter().filter(|method| self.intersects(Self::of(method))).map(Method::as_str).collect();
        f.pad(&names.join(", "))
    }
}
