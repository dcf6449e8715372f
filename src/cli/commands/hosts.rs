//! `hosts`: deliveries of `distribute`, in `hosts.yaml` of the home.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::ca::{Cluster, Target};
use crate::distribute::{
    AccountName, Delivery, DeliveryList, DeliveryListText, FileStem, Installation, KeyMode, PrivilegeProgram,
    ReloadCommand, SshDestination,
};
use crate::error::Code;
use crate::files::{self, Access, DirectoryLock, Placement};
use crate::identity::{MachineLabel, Name, Role, role_and_name};

use crate::cli::group::GroupedCommand;
use crate::cli::session::CommandSession;
use crate::terminal::report::{CommandResult, Failure, Shown, typed};

/// Longest wait for another command to release the home.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Subcommands of `hosts`.
#[derive(Debug, Default, Subcommand)]
pub(crate) enum Hosts {
    /// List the deliveries in hosts.yaml (default)
    #[default]
    List,
    /// Add a delivery to hosts.yaml
    Add(AddDelivery),
    /// Remove the deliveries of an identity from hosts.yaml
    Remove(RemoveDelivery),
}

/// The arguments of `hosts add`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cluster-ca hosts add control-service/api.example.com --to root@api.example.com:/etc/cluster \\
      --reload 'systemctl reload api'
  cluster-ca hosts add node-agent/6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e --to root@node1:/etc/cluster

Comments and the other entries of hosts.yaml stay as they are.")]
pub(crate) struct AddDelivery {
    /// Identity whose newest certificate is delivered, such as api-user/plugin
    #[arg(value_name = "ROLE/NAME", value_parser = role_and_name)]
    identity: (Role, Name),

    /// Destination of the files
    #[arg(long, value_name = "[USER@]HOST[:PORT]:/DIRECTORY")]
    to: SshDestination,

    /// Base name of certificate and key there [default: control-service, node or user, by role]
    #[arg(long = "as", value_name = "NAME")]
    stem: Option<FileStem>,

    /// Account there that directory and files belong to [default: the owner of the directory]
    #[arg(long, value_name = "ACCOUNT")]
    owner: Option<AccountName>,

    /// Group of directory and files there [default: the group of the directory]
    #[arg(long, value_name = "GROUP")]
    group: Option<AccountName>,

    /// Mode of the private key there: 0600, 0400, 0640 or 0440 [default: 0600]
    #[arg(long, value_name = "MODE")]
    mode: Option<KeyMode>,

    /// Program that gives the login the rights of root there: sudo
    #[arg(long = "become", value_name = "PROGRAM")]
    privilege: Option<PrivilegeProgram>,

    /// Command to run there after the files are in place
    #[arg(long, value_name = "COMMAND")]
    reload: Option<ReloadCommand>,
}

/// The arguments of `hosts remove`.
#[derive(Debug, Args)]
pub(crate) struct RemoveDelivery {
    /// Identity whose deliveries are removed, such as api-user/plugin
    #[arg(value_name = "ROLE/NAME", value_parser = role_and_name)]
    identity: (Role, Name),

    /// Only the deliveries to this destination
    #[arg(long, value_name = "[USER@]HOST[:PORT]:/DIRECTORY")]
    to: Option<SshDestination>,
}

impl GroupedCommand for Hosts {
    fn run(self, session: &CommandSession) -> CommandResult {
        match self {
            Self::List => list(session),
            Self::Add(add) => add.run(session),
            Self::Remove(remove) => remove.run(session),
        }
    }
}

/// The file in the home, which may be a link to another place.
fn file(session: &CommandSession) -> PathBuf {
    session.home().directory().join(DeliveryList::FILE)
}

fn read(session: &CommandSession) -> Result<DeliveryListText, Failure> {
    let path = file(session);
    let bytes = match files::read_write_protected(&path, DeliveryList::LIMIT) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.is_missing() => None,
        Err(error) => return Err(error.into()),
    };
    Ok(DeliveryListText::parse(&path.display().to_string(), bytes.as_deref())?)
}

/// Take the lock of the home, so that no other command changes the file in between.
fn lock(session: &CommandSession) -> Result<DirectoryLock, Failure> {
    let clock = session.context.clock.as_ref();
    Ok(DirectoryLock::acquire(session.home().directory(), LOCK_TIMEOUT, clock)?)
}

fn write(session: &CommandSession, text: &str) -> Result<(), Failure> {
    let path = file(session);
    // A link to a file elsewhere stays a link.
    let path = fs::canonicalize(&path).unwrap_or(path);
    Ok(files::write(&path, Access::Public, Placement::Replace, text.as_bytes())?)
}

fn list(session: &CommandSession) -> CommandResult {
    let cluster = Cluster::open(&session.home(), &session.context)?;
    let read = read(session)?;
    let rows = read.deliveries().iter().map(|delivery| ListedDelivery::new(delivery, &cluster));
    Ok(Box::new(Shown(Deliveries(rows.collect()))))
}

impl AddDelivery {
    fn run(self, session: &CommandSession) -> CommandResult {
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let Self { identity: (role, name), to, stem, owner, group, mode, privilege, reload } = self;
        let key_mode = mode.unwrap_or_default();
        let delivery = Delivery {
            role,
            name,
            destination: to,
            stem: stem.unwrap_or_else(|| FileStem::of_role(role)),
            reload,
            installation: Installation { owner, group, key_mode, privilege },
        };
        let _lock = lock(session)?;
        let old = read(session)?;
        let text = old.with(&delivery).map_err(|error| {
            Failure::of(&error).with_hint(match error.to_string().contains("two deliveries") {
                true => "give this one another name with --as; nothing was changed",
                false => "write the entry by hand: cluster-ca man hosts.yaml",
            })
        })?;
        write(session, &text)?;
        let target = Target::Identity(delivery.role, delivery.name.clone());
        if cluster.candidates(&target)?.is_empty() {
            session.note(format_args!("{target} has no certificate yet"));
        }
        let row = ListedDelivery::new(&delivery, &cluster);
        Ok(Box::new(Shown(AddedDelivery { file: file(session), delivery: row })))
    }
}

impl RemoveDelivery {
    fn run(self, session: &CommandSession) -> CommandResult {
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let _lock = lock(session)?;
        let old = read(session)?;
        let is_meant = |delivery: &Delivery| {
            (delivery.role, &delivery.name) == (self.identity.0, &self.identity.1)
                && self.to.as_ref().is_none_or(|to| delivery.destination == *to)
        };
        let found = old.deliveries().iter().enumerate().filter(|(_, delivery)| is_meant(delivery));
        let (removed, deliveries): (Vec<usize>, Vec<&Delivery>) = found.unzip();
        if removed.is_empty() {
            let (role, name) = &self.identity;
            let to = self.to.map(|to| format!(" to {to}")).unwrap_or_default();
            let message = format!("{} lists no delivery of {role}/{name}{to}", typed(&file(session)));
            return Err(Failure::new(Code::refused("hosts.unknown"), message)
                .with_hint("see what is listed: cluster-ca hosts list"));
        }
        let text = old.without(&removed).map_err(|error| {
            Failure::of(&error).with_hint("remove the entry by hand: cluster-ca man hosts.yaml")
        })?;
        write(session, &text)?;
        let removed =
            deliveries.into_iter().map(|delivery| ListedDelivery::new(delivery, &cluster)).collect();
        Ok(Box::new(Shown(RemovedDeliveries { file: file(session), removed })))
    }
}

/// Delivery with the label of its machine.
#[derive(Serialize)]
struct ListedDelivery {
    #[serde(flatten)]
    delivery: Delivery,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<MachineLabel>,
}

impl ListedDelivery {
    fn new(delivery: &Delivery, cluster: &Cluster) -> Self {
        let target = Target::Identity(delivery.role, delivery.name.clone());
        // The newest certificate has the label in force. The list is shown without an inventory entry, too.
        let newest = cluster.candidates(&target).ok().and_then(|known| known.into_iter().next());
        Self { delivery: delivery.clone(), label: newest.and_then(|record| record.reservation.label) }
    }

    fn identity(&self) -> String {
        format!("{}/{}", self.delivery.role, self.delivery.name)
    }

    fn write_details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = &self.label {
            writeln!(f, "  label        {label}")?;
        }
        writeln!(f, "  to           {}", self.delivery.destination)?;
        writeln!(f, "  as           {}", self.delivery.stem)?;
        let Installation { owner, group, key_mode, privilege } = &self.delivery.installation;
        for (name, account) in [("owner", owner), ("group", group)] {
            if let Some(account) = account {
                writeln!(f, "  {name:12} {}", account.as_str())?;
            }
        }
        if *key_mode != KeyMode::default() {
            writeln!(f, "  mode         {key_mode}")?;
        }
        if let Some(program) = privilege {
            writeln!(f, "  become       {program}")?;
        }
        if let Some(reload) = &self.delivery.reload {
            writeln!(f, "  reload       {}", reload.as_str())?;
        }
        Ok(())
    }
}

/// Result of `hosts list`.
#[derive(Serialize)]
#[serde(transparent)]
struct Deliveries(Vec<ListedDelivery>);

impl fmt::Display for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(
                f,
                "No deliveries. Next: cluster-ca hosts add ROLE/NAME --to root@HOST:/etc/cluster"
            );
        }
        for (index, one) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            writeln!(f, "{}", one.identity())?;
            one.write_details(f)?;
        }
        Ok(())
    }
}

/// Result of `hosts add`.
#[derive(Serialize)]
struct AddedDelivery {
    #[serde(serialize_with = "crate::files::as_text")]
    file: PathBuf,
    #[serde(flatten)]
    delivery: ListedDelivery,
}

impl fmt::Display for AddedDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = self.delivery.identity();
        writeln!(f, "Added {identity} to {}", typed(&self.file))?;
        self.delivery.write_details(f)?;
        writeln!(f, "\nNext: cluster-ca distribute {identity}")
    }
}

/// Result of `hosts remove`.
#[derive(Serialize)]
struct RemovedDeliveries {
    #[serde(serialize_with = "crate::files::as_text")]
    file: PathBuf,
    removed: Vec<ListedDelivery>,
}

impl fmt::Display for RemovedDeliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.removed {
            writeln!(f, "Removed {} from {}", one.identity(), typed(&self.file))?;
            writeln!(f, "  to           {}", one.delivery.destination)?;
        }
        writeln!(f, "\nThe files on the machine stay.")
    }
}
