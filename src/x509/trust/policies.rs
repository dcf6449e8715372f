//! Certificate policies of a path (RFC 5280, section 6.1), for CAs that require one.
//!
//! The user-initial-policy-set is any-policy. Policy mappings are not supported: a mapped policy counts as another one,
//! which refuses more and permits nothing.

use std::collections::BTreeSet;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use crate::x509::certificate::Certificate;

const ANY_POLICY: &str = "2.5.29.32.0";

/// Check the policies of `path`, the trust anchor first and the leaf last. Without a policy constraint, every path is
/// good.
pub(super) fn are_satisfied(path: &[&Certificate]) -> bool {
    if path.iter().all(|certificate| certificate.policy_constraints.is_none()) {
        return true;
    }
    let Some((anchor, below)) = path.split_first() else { return false };
    let mut state = PolicyState::default();
    state.constrain(anchor);
    for (index, certificate) in below.iter().enumerate() {
        let is_leaf = index + 1 == below.len();
        state.narrow(certificate, is_leaf);
        if !state.is_satisfied() {
            return false;
        }
        if is_leaf {
            state.explicit = state.explicit.map(|left| left.saturating_sub(1));
            if certificate.policy_constraints.and_then(|own| own.require_explicit) == Some(0) {
                state.explicit = Some(0);
            }
        } else {
            if !certificate.is_self_issued() {
                state.explicit = state.explicit.map(|left| left.saturating_sub(1));
                state.inhibit_any = state.inhibit_any.map(|left| left.saturating_sub(1));
            }
            state.constrain(certificate);
        }
    }
    state.is_satisfied()
}

/// State of the algorithm. `None` of a counter is "never".
#[derive(Debug, Default)]
struct PolicyState {
    /// Certificates left until a policy is required.
    explicit: Option<u32>,
    /// Certificates left until `anyPolicy` counts no more.
    inhibit_any: Option<u32>,
    /// Policies of all certificates so far; `None` is any policy.
    valid: Option<BTreeSet<String>>,
}

impl PolicyState {
    fn is_satisfied(&self) -> bool {
        self.explicit != Some(0) || self.valid.as_ref().is_none_or(|valid| !valid.is_empty())
    }

    /// Apply the constraints of a CA (section 6.1.4 (i) and (j)).
    fn constrain(&mut self, authority: &Certificate) {
        let tighten = |current: &mut Option<u32>, limit: Option<u32>| {
            if let Some(limit) = limit {
                *current = Some(current.map_or(limit, |current| current.min(limit)));
            }
        };
        if let Some(constraints) = authority.policy_constraints {
            tighten(&mut self.explicit, constraints.require_explicit);
            tighten(&mut self.inhibit_any, constraints.inhibit_any);
        }
    }

    /// Intersect the policies with those of a certificate (section 6.1.3 (d) and (e)).
    fn narrow(&mut self, certificate: &Certificate, is_leaf: bool) {
        let mut policies = policies(certificate);
        let any = policies.remove(ANY_POLICY);
        let any = any && (self.inhibit_any != Some(0) || !is_leaf && certificate.is_self_issued());
        self.valid = match (self.valid.take(), any) {
            (None, true) => None,
            (None, false) => Some(policies),
            (Some(valid), true) => Some(valid),
            (Some(valid), false) => Some(valid.intersection(&policies).cloned().collect()),
        };
    }
}

fn policies(certificate: &Certificate) -> BTreeSet<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(&certificate.der) else { return BTreeSet::new() };
    let of = parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::CertificatePolicies(policies) => {
            Some(policies.iter().map(|policy| policy.policy_id.to_id_string()).collect())
        }
        _ => None,
    });
    of.unwrap_or_default()
}
