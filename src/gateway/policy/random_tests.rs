//! Random policies: the decision is that of a second, slower engine, and no order of the routes changes it.

use std::cmp::Ordering;

use http::Method;

use super::*;
use crate::gateway::message::path::RequestPath;
use crate::identity::{Identity, Name, Role};

const SEGMENTS: [&str; 12] =
    ["v1", "V1", "admin", "Admin", "k", "%E2%84%AA", "%C3%A9", "%C3%89", "ss", "%C3%9F", "a%20b", "x"];
const METHODS: [&str; 3] = ["GET", "HEAD", "POST"];
const CALLERS: [&str; 3] =
    ["spiffe://prod/api-user/alice", "spiffe://prod/api-user/x", "spiffe://prod/control-service/c"];

/// Generator by Marsaglia (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(below).unwrap()).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.next(of.len())]
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.next(end + 1));
        }
    }

    fn template(&mut self) -> String {
        let mut parts: Vec<_> = (0..=self.next(3))
            .map(|_| match self.next(4) {
                0 => "*",
                _ => self.one(&SEGMENTS),
            })
            .collect();
        match self.next(4) {
            0 => parts.push("**"),
            1 => parts.push(""),
            _ => {}
        }
        format!("/{}", parts.join("/"))
    }

    fn route(&mut self, index: usize) -> Route {
        let path: Template = self.template().parse().unwrap();
        let callers = [
            Caller { role: Role::ApiUser, name: NameRule::Any },
            Caller { role: Role::ControlService, name: NameRule::Any },
            Caller {
                role: Role::ApiUser,
                name: NameRule::Exactly(Name::parse(Role::ApiUser, "alice").unwrap()),
            },
        ];
        let allow = match self.next(5) {
            0 => Vec::new(),
            1 => vec![Allow::Anyone],
            _ => vec![Allow::Caller(callers[self.next(3)].clone())],
        };
        let mut query = QueryRule::default();
        if self.next(4) == 0 {
            let wanted = if self.next(2) == 0 { Requirement::Absent } else { Requirement::Present };
            query.add("force", wanted).unwrap();
        }
        Route {
            rule: RuleId { index, line: index + 1 },
            path,
            methods: METHODS
                .iter()
                .filter(|_| self.next(2) == 0)
                .map(|m| Methods::of(&m.parse().unwrap()))
                .collect(),
            query,
            allow,
            upstream: UpstreamId(index),
            websocket: self.next(2) == 0,
            content: self.next(2) == 0,
            token: false,
        }
    }

    fn path(&mut self, routes: &[Route]) -> RequestPath {
        let template = routes[self.next(routes.len())].path.to_string();
        let mut parts = Vec::new();
        for part in template[1..].split('/') {
            match (part, self.next(6)) {
                ("**", _) => parts.extend((0..self.next(3)).map(|_| self.one(&SEGMENTS).to_owned())),
                ("*", _) | (_, 0) => parts.push(self.one(&SEGMENTS).to_owned()),
                // Escapes stay in upper case.
                (_, 1) if !part.contains('%') => parts.push(part.to_uppercase()),
                _ => parts.push(part.to_owned()),
            }
        }
        match (parts.last().is_some_and(String::is_empty), self.next(4)) {
            (true, 0) => {
                parts.pop();
            }
            (false, 0) => parts.push(String::new()),
            _ => {}
        }
        let query = ["", "", "?force=1", "?x"][self.next(4)];
        RequestPath::parse(&format!("/{}{query}", parts.join("/"))).unwrap()
    }
}

/// Path or template in a reading, segment by segment.
fn read(path: &str, case: bool, slash: bool) -> Vec<String> {
    let mut parts: Vec<_> = path[1..].split('/').map(str::to_owned).collect();
    if slash && parts.len() > 1 && parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    for part in &mut parts {
        let text = String::from_utf8(crate::gateway::message::path::decoded(part).collect()).unwrap();
        let cased = |text: &str| text.to_lowercase().to_uppercase().to_lowercase();
        *part = if case { cased(&text) } else { text };
    }
    parts
}

/// Specificity of each segment of `template` that matches `path`; `None` if it does not match.
fn matched(template: &[String], path: &[String]) -> Option<Vec<u8>> {
    let mut found = Vec::new();
    for (position, part) in template.iter().enumerate() {
        match (part.as_str(), path.get(position)) {
            ("**", _) => {
                found.push(3);
                return Some(found);
            }
            ("*", Some(segment)) if !segment.is_empty() => found.push(1),
            (text, Some(segment)) if text != "*" && text == segment => found.push(0),
            _ => return None,
        }
    }
    // A path that ends is more specific than one that continues.
    found.push(2);
    (template.len() == path.len()).then_some(found)
}

/// Decide as the documentation of the policy says; returns the deciding route of the exact reading.
fn slowly(routes: &[Route], caller: Option<&Identity>, method: &Method, path: &RequestPath) -> Option<usize> {
    let mut permitted = None;
    for (case, slash) in [(false, false), (false, true), (true, false), (true, true)] {
        let read_path = read(path.path(), case, slash);
        let fitting = routes.iter().filter(|route| route.methods.intersects(Methods::of(method)));
        let matching = fitting
            .filter_map(|route| Some((matched(&read(route.path.as_str(), case, slash), &read_path)?, route)));
        let matching: Vec<_> = matching.collect();
        let best = matching.iter().map(|(key, _)| key).min()?.clone();
        let deciding: Vec<_> =
            matching.into_iter().filter(|(key, _)| *key == best).map(|(_, route)| route).collect();
        for template in deciding.iter().map(|route| route.path.as_str()) {
            let group = deciding.iter().filter(|route| route.path.as_str() == template);
            let admitting = group.filter(|route| route.query.admits(path.query()));
            let strictness = |one: &&&Route, other: &&&Route| match one.query.implies(&other.query) {
                true => Ordering::Less,
                false => Ordering::Greater,
            };
            let route = admitting.min_by(strictness)?;
            route.admit(caller.into(), path).ok()?;
            permitted.get_or_insert(route.upstream.0);
        }
    }
    permitted
}

#[test]
fn the_decision_is_the_strictest_of_all_readings_in_any_order() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut policies, mut permitted, mut denied) = (0, 0_u32, 0_u32);
    while policies < 400 {
        let count = 2 + random.next(6);
        let routes: Vec<_> = (0..count).map(|index| random.route(index)).collect();
        let Ok(policy) = Policy::compile(routes.clone()) else { continue };
        policies += 1;
        let mut orders = Vec::new();
        for _ in 0..3 {
            let mut shuffled = routes.clone();
            random.shuffle(&mut shuffled);
            orders.push(Policy::compile(shuffled).unwrap());
        }
        for _ in 0..60 {
            let path = random.path(&routes);
            let method: Method = random.one(&METHODS).parse().unwrap();
            let caller: Option<Identity> = match random.next(4) {
                0 => None,
                index => Some(CALLERS[index - 1].parse().unwrap()),
            };
            let decide = |policy: &Policy| policy.decide(caller.as_ref(), &method, &path);
            let decision = decide(&policy);
            let upstream = match &decision {
                Decision::Permit(grant) => Some(grant.upstream().0),
                Decision::Deny(_) => None,
            };
            let told = || format!("{caller:?} {method} {path} by {routes:#?}: {decision:?}");
            assert_eq!(upstream, slowly(&routes, caller.as_ref(), &method, &path), "{}", told());
            for order in &orders {
                let other = decide(order);
                let reason = (decision.verdict().reason(), other.verdict().reason());
                assert_eq!(reason.0, reason.1, "{}", told());
                match (&decision, &other) {
                    (Decision::Permit(one), Decision::Permit(other)) => {
                        assert_eq!(
                            (one.upstream(), one.websocket(), one.content()),
                            (other.upstream(), other.websocket(), other.content()),
                            "{}",
                            told()
                        );
                    }
                    (Decision::Deny(_), Decision::Deny(_)) => {}
                    _ => panic!("{other:?} in another order: {}", told()),
                }
            }
            *(if upstream.is_some() { &mut permitted } else { &mut denied }) += 1;
        }
    }
    assert!(permitted > 2_000 && denied > 2_000, "{permitted} {denied}");
}
