//! One document's commands, run by bash in namespaces of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::document::{Block, Document, Kind};

/// The line that begins the output of a block.
const MARK: &str = "\u{1e}block ";

/// Runs what `document` says, after what it continues.
///
/// # Errors
/// A command fails, or prints something else than the document shows.
pub(crate) fn run(document: &Document, all: &[Document]) -> Result<(), String> {
    let before = document.continues().map(|name| {
        let guide = all.iter().find(|guide| guide.name == name);
        guide.ok_or_else(|| format!("{}: there is no {name} to continue", document.name))
    });
    let before = before.transpose()?;
    let blocks: Vec<&Block> = before.iter().flat_map(|guide| &guide.blocks).chain(&document.blocks).collect();
    if !document.blocks.iter().any(|block| matches!(block.kind, Kind::Run(_))) {
        return Ok(());
    }
    let output = execute(&script(&blocks));
    let outputs: Vec<(usize, &str)> = output
        .split(MARK)
        .skip(1)
        .map(|part| {
            let (index, text) = part.split_once('\n').unwrap_or((part, ""));
            (index.parse().expect("the number of a block"), text)
        })
        .collect();
    if !output.ends_with("\u{1e}done\n") {
        let (index, text) = outputs.last().copied().unwrap_or((0, &output));
        let block = blocks.get(index).expect("a block that was run");
        return Err(format!(
            "{}:{}: a command failed\n{}\n{text}",
            block.document,
            block.line,
            block.lines.join("\n")
        ));
    }
    let mut shown = Vec::new();
    for (index, block) in blocks.iter().enumerate().skip(blocks.len() - document.blocks.len()) {
        if block.kind == Kind::Output {
            let printed = outputs.iter().find(|(ran, _)| *ran + 1 == index).map_or("", |(_, text)| text);
            shown.push((*block, printed));
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        update(document, &shown);
        return Ok(());
    }
    let mut wrong: Vec<_> = shown.iter().filter_map(|(block, printed)| difference(block, printed)).collect();
    wrong.extend(changing_digests(&shown));
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Each line that is shown, with the line that was printed for it; `None` for `...` and for what was not printed.
fn printed_lines<'p>(block: &Block, printed: &'p str) -> Vec<Option<&'p str>> {
    let mut left: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let printed_for = |line: &String| {
        let found = left.iter().position(|real| !real.is_empty() && plain(real) == plain(line))?;
        Some(left.remove(found))
    };
    block.lines.iter().map(printed_for).collect()
}

/// Serial numbers and key identifiers that are one in this session, and several in the document.
fn changing_digests(shown: &[(&Block, &str)]) -> Vec<String> {
    let digests = |line: &str| -> Vec<String> {
        let words = line.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_owned);
        words.filter(|word| word.len() >= 32 && word.chars().all(|c| c.is_ascii_hexdigit())).collect()
    };
    let mut known: std::collections::HashMap<String, String> = std::collections::HashMap::new();
    let mut wrong = Vec::new();
    for (block, printed) in shown {
        for (line, real) in block.lines.iter().zip(printed_lines(block, printed)) {
            for (digest, real) in digests(line).into_iter().zip(digests(real.unwrap_or_default())) {
                let first = known.entry(real).or_insert_with(|| digest.clone());
                if *first != digest {
                    wrong.push(format!(
                        "{}:{}: {digest} is shown as {first} before: UPDATE_DOCS=1 takes all from one session",
                        block.document, block.line
                    ));
                }
            }
        }
    }
    wrong
}

/// What is shown and not printed, or printed and not shown.
fn difference(block: &Block, printed: &str) -> Option<String> {
    let shown: Vec<String> = block.lines.iter().map(|line| plain(line)).collect();
    let real: Vec<String> = printed.lines().map(plain).filter(|line| !line.is_empty()).collect();
    let at = |text: String| Some(format!("{}:{}: {text}\nit is:\n{printed}", block.document, block.line));
    if let Some(missing) =
        shown.iter().position(|line| !line.is_empty() && line != "..." && !real.contains(line))
    {
        return at(format!("this is not printed: {}", block.lines.get(missing).expect("one of them")));
    }
    if shown.iter().all(|line| line == "...") && !real.is_empty() {
        return at("nothing of the output is shown".to_owned());
    }
    if !shown.iter().any(|line| line == "...")
        && let Some(missing) = real.iter().find(|line| !shown.contains(line))
    {
        return at(format!("this is not shown: {missing}"));
    }
    None
}

/// A line without what differs from run to run: numbers, digests, dates, width of columns.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = |fits: fn(char) -> bool| rest.find(|c: char| !fits(c)).unwrap_or(rest.len());
        let hex = length(|c| c.is_ascii_hexdigit() || c == ':' || c == '-');
        let is_digest = hex >= 8 && rest[..hex].contains(|c: char| c.is_ascii_digit());
        let digits = length(|c| c.is_ascii_digit());
        let space = length(char::is_whitespace);
        let (end, shown) = match first {
            _ if is_digest => (hex, "#"),
            _ if digits > 0 => (digits, "#"),
            _ if space > 0 => (space, " "),
            _ => (first.len_utf8(), &rest[..first.len_utf8()]),
        };
        text.push_str(shown);
        rest = &rest[end..];
    }
    // An age is read at another second in each run: 5m, 5m1s.
    text.replace("#m#s", "#m").trim().to_owned()
}

/// Replaces outputs that differ. If there is any, or an identifier changes within the document, the other outputs take
/// their values from this session too.
fn update(document: &Document, shown: &[(&Block, &str)]) {
    let differs = |(block, printed): &(&Block, &str)| difference(block, printed).is_some();
    if !shown.iter().any(differs) && changing_digests(shown).is_empty() {
        return;
    }
    let mut lines: Vec<String> = document.text.lines().map(str::to_owned).collect();
    for (block, printed) in shown.iter().rev() {
        let new: Vec<String> = if differs(&(block, printed)) {
            printed.trim_matches('\n').lines().map(|line| line.trim_end().to_owned()).collect()
        } else {
            let printed = printed_lines(block, printed);
            block.lines.iter().zip(printed).map(|(line, real)| real.unwrap_or(line).to_owned()).collect()
        };
        lines.splice(block.line..block.line + block.lines.len(), new);
    }
    fs::write(&document.path, lines.join("\n") + "\n").expect("the document can be written");
}

fn script(blocks: &[&Block]) -> String {
    let mut script = String::from(SETTING);
    for (index, block) in blocks.iter().enumerate() {
        let text = block.lines.join("\n");
        match &block.kind {
            Kind::File(name) => script.push_str(&format!("cat >{name} <<'YAML'\n{text}\nYAML\n")),
            Kind::Run(0) => {
                if text.starts_with("cluster-gateway rejected") {
                    script.push_str("wait_for_refusal\n");
                }
                script.push_str(&format!("printf '\\x1eblock {index}\\n'\n{text}\n"));
                if text.ends_with('&') {
                    script.push_str("wait_for_gateway\n");
                }
            }
            Kind::Run(code) => {
                script.push_str(&format!(
                    "printf '\\x1eblock {index}\\n'\ncode=0\n{{ {text}\n}} || code=$?\n[ $code = {code} ] || \
                     {{ echo \"exit code $code instead of {code}\"; exit 1; }}\n"
                ));
            }
            _ => {}
        }
    }
    script.push_str("printf '\\x1eblock 0\\n'\nset +e\nkill $(jobs -p)\nwait\nprintf '\\x1edone\\n'\n");
    script
}

fn execute(script: &str) -> String {
    let work = tempfile::tempdir().expect("a directory for the session");
    let programs = Path::new(env!("CARGO_BIN_EXE_cluster-ca")).parent().expect("a directory of programs");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    fs::write(work.path().join("session"), script).expect("the session can be written");
    let output = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--mount-proc", "--fork", "--kill-child", "bash", "session"])
        .current_dir(work.path())
        .env("PATH", path)
        .env_remove("CLUSTER_CA_HOME")
        .output()
        .expect("unshare (util-linux) is needed and could not be started");
    format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
}

/// The machines of the examples, a home for the CA, and one for the user.
const SETTING: &str = r#"set -euo pipefail
mount --bind "$PWD" /srv
cd /srv
mkdir -m 0700 user-home
export HOME=$PWD/user-home
ip link set lo up
mkdir etc
cp -a /etc/. etc/
rm -rf etc/cluster
mount --bind etc /etc
mount -t tmpfs tmpfs /run
mkdir /run/sshd
ssh-keygen -q -t ed25519 -N '' -f host_key
ssh-keygen -q -t ed25519 -N '' -f user_key
cp user_key.pub authorized_keys
cat >sshd_config <<CONFIG
ListenAddress 127.0.0.1:2222
HostKey $PWD/host_key
AuthorizedKeysFile $PWD/authorized_keys
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
CONFIG
cat >ssh_config <<CONFIG
Host *.example.com
    HostName 127.0.0.1
    Port 2222
    IdentityFile $PWD/user_key
    IdentitiesOnly yes
    UserKnownHostsFile $PWD/known_hosts
    StrictHostKeyChecking accept-new
    LogLevel ERROR
CONFIG
mkdir bin
for tool in ssh scp; do
    printf '#!/bin/sh\nexec %s -F %s "$@"\n' "$(command -v $tool)" "$PWD/ssh_config" >bin/$tool
    chmod +x bin/$tool
done
PATH=$PWD/bin:$PATH
/usr/sbin/sshd -D -f "$PWD/sshd_config" 2>sshd.log &
for _ in $(seq 200); do (exec 3<>/dev/tcp/127.0.0.1/2222) 2>/dev/null && break; sleep 0.05; done
wait_for_gateway() {
    for _ in $(seq 200); do (exec 3<>/dev/tcp/127.0.0.1/4523) 2>/dev/null && return; sleep 0.05; done
    echo 'the gateway does not listen'; exit 1
}
# The gateway records a refused client when it has left.
wait_for_refusal() {
    for _ in $(seq 100); do
        cluster-gateway rejected --config gateway.yaml | grep -q '^TIME' && return
        sleep 0.05
    done
}
umask 022
exec 2>&1
"#;
