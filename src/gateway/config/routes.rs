//! Policy from the `groups` and `routes` of the configuration.

use std::cell::Cell;
use std::sync::Arc;

use super::error::ConfigError;
use super::schema;
use crate::gateway::policy::{
    Allow, Caller, Group, Methods, NameRule, OrganizationRule, Policy, QueryRule, Requirement, Route, RuleId,
    Template, UpstreamId, UserRule, Variable,
};
use crate::identity::{Name, OrganizationName, Role};
use crate::yaml::reader::Item;

/// Most bytes of a configuration or of a shadow policy: room for 100,000 routes.
pub(super) const MAX_FILE_BYTES: u64 = 16 << 20;

/// Parts of a configuration that the routes of its policies refer to.
pub(super) struct RouteContext<'a> {
    upstreams: Vec<Declared<'a, ()>>,
    /// True if a listener accepts clients without a certificate.
    anyone: bool,
    /// True if access tokens are accepted.
    users: bool,
}

impl<'a> RouteContext<'a> {
    pub(super) fn new(upstreams: &[(&'a str, Item<'a>)], anyone: bool) -> Self {
        Self { upstreams: upstreams.iter().cloned().map(Declared::upstream).collect(), anyone, users: false }
    }

    pub(super) fn with_users(self, users: bool) -> Self {
        Self { users, ..self }
    }

    /// Report every upstream that no route read so far uses.
    pub(super) fn report_unused(&self) {
        self.upstreams.iter().for_each(Declared::report_unused);
    }
}

/// Compile a policy. Groups that no route uses are problems, too.
pub(super) fn read(
    routes: &Item<'_>,
    groups: Option<&Item<'_>>,
    context: &RouteContext<'_>,
) -> Option<Policy> {
    let groups = groups.map(Item::named).into_iter().flatten();
    let groups: Vec<_> = groups.map(|named| Declared::group(named, context.users)).collect();
    let items = routes.list()?;
    if items.is_empty() {
        routes.report(ConfigError::NoRoutes);
    }
    let compiled = items.iter().enumerate().map(|(index, item)| route(item, index, &groups, context));
    let compiled: Vec<Option<Route>> = compiled.collect();
    groups.iter().for_each(Declared::report_unused);
    // Routes are compared with each other even if some could not be read.
    let whole = compiled.iter().all(Option::is_some);
    match Policy::compile(compiled.into_iter().flatten()) {
        Ok(policy) => whole.then_some(policy),
        Err(errors) => {
            for error in errors {
                items.get(error.rule().index).unwrap_or(routes).report(error);
            }
            None
        }
    }
}

/// Upstream or group that routes refer to by name.
struct Declared<'a, T> {
    name: &'a str,
    value: T,
    item: Item<'a>,
    used: Cell<bool>,
}

impl<'a> Declared<'a, Arc<Group>> {
    fn group((name, item): (&'a str, Item<'a>), has_users: bool) -> Self {
        let (mut callers, mut users) = (Vec::new(), Vec::new());
        for member in item.list().unwrap_or_default() {
            match group_member(&member, has_users) {
                Some(Allow::Caller(caller)) => callers.push(caller),
                Some(Allow::User(user)) => users.push(user),
                _ => {}
            }
        }
        let value = Arc::new(Group { name: name.to_owned(), callers, users });
        Self { name, value, item, used: Cell::default() }
    }
}

impl<'a> Declared<'a, ()> {
    fn upstream((name, item): (&'a str, Item<'a>)) -> Self {
        Self { name, value: (), item, used: Cell::default() }
    }
}

impl<T> Declared<'_, T> {
    fn report_unused(&self) {
        if !self.used.get() {
            self.item.report(ConfigError::Unused);
        }
    }
}

/// Find the declaration that `item` names, and mark it as used.
fn find<'d, T>(
    declared: &'d [Declared<'_, T>],
    what: &'static str,
    item: &Item<'_>,
) -> Option<(usize, &'d T)> {
    let name = item.text()?;
    let found = declared.iter().enumerate().find(|(_, declared)| declared.name == name);
    let Some((index, found)) = found else {
        item.report(ConfigError::Undeclared { what, name: name.to_owned() });
        return None;
    };
    found.used.set(true);
    Some((index, &found.value))
}

fn route(
    item: &Item<'_>,
    index: usize,
    groups: &[Declared<'_, Arc<Group>>],
    context: &RouteContext<'_>,
) -> Option<Route> {
    let mut fields = item.fields(&schema::ROUTE)?;
    let path = fields.required("path").and_then(|item| item.read(str::parse::<Template>));
    let methods = fields.required("methods").and_then(|item| methods(&item));
    let query = match fields.optional("query") {
        Some(item) => query(&item),
        None => Some(QueryRule::default()),
    };
    let allowed = fields.required("allow").and_then(|item| {
        let entries = item.list()?;
        let allowed: Vec<_> =
            entries.iter().map(|item| allow(item, path.as_ref(), groups, context)).collect();
        allowed.into_iter().collect::<Option<Vec<_>>>()
    });
    let upstream = fields.required("upstream").and_then(|item| find(&context.upstreams, "upstream", &item));
    let websocket = match fields.optional("upgrade") {
        Some(item) => item.read(websocket),
        None => Some(false),
    };
    let content = match fields.optional("body") {
        Some(item) => item.read(content).inspect(|_| {
            if methods.is_some_and(|methods| methods.without_content().is_empty()) {
                item.report(ConfigError::BodyUnused);
            }
        }),
        None => Some(false),
    };
    let token = match fields.optional("token") {
        Some(item) => item.read(token).inspect(|_| {
            if allowed.as_ref().is_some_and(|allowed| !allowed.iter().any(Allow::has_users)) {
                item.report(ConfigError::TokenUnused);
            }
        }),
        None => Some(false),
    };
    fields.finish();
    Some(Route {
        rule: RuleId { index, line: item.line() },
        path: path?,
        methods: methods?,
        query: query?,
        allow: allowed?,
        upstream: UpstreamId(upstream?.0),
        websocket: websocket?,
        content: content?,
        token: token?,
    })
}

/// Read `token`.
fn token(text: &str) -> Result<bool, ConfigError> {
    match text {
        "forwarded" => Ok(true),
        _ => Err(ConfigError::TokenForwarding { given: text.to_owned() }),
    }
}

/// Read `body`.
fn content(text: &str) -> Result<bool, ConfigError> {
    match text {
        "allowed" => Ok(true),
        _ => Err(ConfigError::Body { given: text.to_owned() }),
    }
}

/// Read `upgrade`. Only WebSocket is possible: other protocols could hide requests.
fn websocket(text: &str) -> Result<bool, ConfigError> {
    match text {
        "websocket" => Ok(true),
        _ => Err(ConfigError::Upgrade { given: text.to_owned() }),
    }
}

fn methods(item: &Item<'_>) -> Option<Methods> {
    let items = item.list()?;
    if items.is_empty() {
        item.report(ConfigError::NoMethods);
    }
    let mut methods = Methods::default();
    for item in items {
        let Some(method) = item.read(method) else { continue };
        if methods.intersects(method) {
            item.report(ConfigError::Repeated);
        }
        methods = methods.or(method);
    }
    Some(methods)
}

fn method(text: &str) -> Result<Methods, ConfigError> {
    let known = |text: &str| Methods::ALL.iter().find(|method| method.as_str() == text);
    let upper = text.to_ascii_uppercase();
    match known(text) {
        Some(method) => Ok(Methods::of(method)),
        None if upper == "CONNECT" => Err(ConfigError::NeverForwarded { method: "CONNECT" }),
        None if upper == "TRACE" => Err(ConfigError::NeverForwarded { method: "TRACE" }),
        None if known(&upper).is_some() => Err(ConfigError::MethodCase { given: text.to_owned(), upper }),
        None => Err(ConfigError::Method { given: text.to_owned() }),
    }
}

/// Read conditions by parameter: `absent`, `present`, or a list of values.
fn query(item: &Item<'_>) -> Option<QueryRule> {
    let mut rule = QueryRule::default();
    let mut whole = true;
    let conditions = item.named();
    if conditions.is_empty() {
        item.report(ConfigError::NoConditions);
    }
    for (parameter, item) in conditions {
        let added = requirement(&item).map(|requirement| rule.add(parameter, requirement));
        if let Some(Err(error)) = &added {
            item.report(error);
        }
        whole &= matches!(added, Some(Ok(())));
    }
    whole.then_some(rule)
}

fn requirement(item: &Item<'_>) -> Option<Requirement> {
    if !item.is_list() {
        return item.read(|text| match text {
            "absent" => Ok(Requirement::Absent),
            "present" => Ok(Requirement::Present),
            _ => Err(ConfigError::Condition { given: text.to_owned() }),
        });
    }
    let items = item.list()?;
    if items.is_empty() {
        item.report(ConfigError::NoValues);
    }
    let values: Vec<_> = items.iter().map(|item| item.text().map(str::to_owned)).collect();
    values.into_iter().collect::<Option<_>>().map(Requirement::OneOf)
}

fn allow(
    item: &Item<'_>,
    path: Option<&Template>,
    groups: &[Declared<'_, Arc<Group>>],
    context: &RouteContext<'_>,
) -> Option<Allow> {
    if !item.is_mapping() {
        return item.read(|text| match text {
            "anyone" if context.anyone => Ok(Allow::Anyone),
            "anyone" => Err(ConfigError::AnyoneUnreachable),
            _ => Err(ConfigError::RoleOrGroup),
        });
    }
    let mut fields = item.fields(&schema::ALLOW)?;
    let (group, role, name) = (fields.optional("group"), fields.optional("role"), fields.optional("name"));
    let (user, org) = (fields.optional("user"), fields.optional("org"));
    fields.finish();
    let bind = |name: &str| path.map(|path| path.variable(name).ok_or(ConfigError::NoVariable));
    match (group, role, name, user, org) {
        (Some(group), None, None, None, None) => {
            find(groups, "group", &group).map(|(_, group)| Allow::Group(Arc::clone(group)))
        }
        (None, Some(role), name, None, None) => caller(&role, name.as_ref(), bind).map(Allow::Caller),
        (None, role, None, Some(user), org) => {
            user_rule(&user, role.as_ref(), org.as_ref(), context.users, bind).map(Allow::User)
        }
        _ => {
            item.report(ConfigError::RoleOrGroup);
            None
        }
    }
}

/// Read a member of a group: a caller or a user, without a path variable.
fn group_member(item: &Item<'_>, has_users: bool) -> Option<Allow> {
    let mut fields = item.fields(&schema::MEMBER)?;
    let (role, name) = (fields.optional("role"), fields.optional("name"));
    let (user, org) = (fields.optional("user"), fields.optional("org"));
    fields.finish();
    let bind = |_: &str| Some(Err(ConfigError::VariableInGroup));
    match (role, name, user, org) {
        (Some(role), name, None, None) => caller(&role, name.as_ref(), bind).map(Allow::Caller),
        (role, None, Some(user), org) => {
            user_rule(&user, role.as_ref(), org.as_ref(), has_users, bind).map(Allow::User)
        }
        _ => {
            item.report(ConfigError::RoleOrUser);
            None
        }
    }
}

/// Read a user of an access token. Without an organization, it is one of `Root`: names are unique only in their
/// organization, which the administrators of another one choose.
fn user_rule(
    user: &Item<'_>,
    role: Option<&Item<'_>>,
    org: Option<&Item<'_>>,
    has_users: bool,
    bind: impl Fn(&str) -> Option<Result<Variable, ConfigError>>,
) -> Option<UserRule> {
    if !has_users {
        user.report(ConfigError::UserWithoutTokens);
        return None;
    }
    let variable = |item: &Item<'_>, name: &str| bind(name)?.map_err(|error| item.report(error)).ok();
    let name = match user.text()? {
        "*" => Some(NameRule::Any),
        text => match variable_name(text) {
            Some(name) => variable(user, name).map(NameRule::Bound),
            None => user.read(Name::of_user).map(NameRule::Exactly),
        },
    };
    let organization = match org {
        None => Some(OrganizationRule::Exactly(OrganizationName::root())),
        Some(item) => match item.text()? {
            "*" => Some(OrganizationRule::Any),
            text => match variable_name(text) {
                Some(name) => variable(item, name).map(OrganizationRule::Bound),
                None => item.read(str::parse).map(OrganizationRule::Exactly),
            },
        },
    };
    let role = match role {
        Some(item) => item.read(str::parse).map(Some),
        None => Some(None),
    };
    Some(UserRule { name: name?, organization: organization?, role: role? })
}

/// Name of a variable that is written `{name}`.
fn variable_name(text: &str) -> Option<&str> {
    text.strip_prefix('{').and_then(|text| text.strip_suffix('}'))
}

/// Read a caller outside of a route, so that no path variable can be its name.
pub(super) fn member(item: &Item<'_>) -> Option<Caller> {
    let mut fields = item.fields(&schema::CALLER)?;
    let (role, name) = (fields.required("role"), fields.optional("name"));
    fields.finish();
    caller(&role?, name.as_ref(), |_| Some(Err(ConfigError::VariableInGroup)))
}

/// Read a caller. `bind` finds a path variable; it returns `None` if the path could not be read.
fn caller(
    role: &Item<'_>,
    name: Option<&Item<'_>>,
    bind: impl Fn(&str) -> Option<Result<Variable, ConfigError>>,
) -> Option<Caller> {
    let role: Role = role.read(str::parse)?;
    let Some(item) = name else { return Some(Caller { role, name: NameRule::Any }) };
    let name = match variable_name(item.text()?) {
        Some(variable) => NameRule::Bound(bind(variable)?.map_err(|error| item.report(error)).ok()?),
        None => NameRule::Exactly(item.read(|text| Name::parse(role, text))?),
    };
    Some(Caller { role, name })
}
