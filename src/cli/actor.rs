//! Operator recorded in the audit chain: local account and host name.

use rustix::process::getuid;
use rustix::system::uname;

use crate::audit::Actor;

/// `NAME(UID)@HOST` of this process.
///
/// The UID comes from the kernel and the name from the account file. Environment variables are not used:
/// any user can set them.
pub(crate) fn current() -> Actor {
    let uid = getuid().as_raw();
    let host = uname().nodename().to_string_lossy().into_owned();
    let name = account_name(uid).unwrap_or_default();
    let printable = |text: &str| text.chars().filter(|c| c.is_ascii_graphic()).take(100).collect::<String>();
    let text = format!("{}({uid})@{}", printable(&name), printable(&host));
    text.parse().unwrap_or_else(|_| Actor::unknown())
}

/// Account name from `/etc/passwd`; `None` for accounts of a directory service.
fn account_name(uid: u32) -> Option<String> {
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}
