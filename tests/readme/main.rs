//! The README tells the truth: every command line in it is run, in its order, as one session.
//!
//! The session has mount and network namespaces of its own: the machines of the examples are one real
//! sshd on loopback, their `/etc/cluster` is a directory that nobody else sees, and port 4523 is free.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// A fenced block of the README.
struct Block<'a> {
    language: &'a str,
    line: usize,
    text: Vec<&'a str>,
}

fn blocks(readme: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for (number, line) in readme.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(language), None) => open = Some(Block { language, line: number + 1, text: Vec::new() }),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.text.push(line);
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block of the README is not closed");
    blocks
}

/// The session as one script: what the blocks say, each line announced, and nothing else but waiting for
/// a gateway that was started in the background.
fn session(blocks: &[Block<'_>]) -> String {
    let mut script = String::from(SETTING);
    for block in blocks.iter().filter(|block| block.language == "yaml") {
        let name = block.text[0].strip_prefix("# ").expect("a YAML block begins with the name of its file");
        script.push_str(&format!("cat >{name} <<'YAML'\n{}\nYAML\n", block.text.join("\n")));
    }
    for block in blocks.iter().filter(|block| block.language == "sh") {
        for line in &block.text {
            script.push_str(&format!("announce {} {}\n{line}\n", block.line, quoted(line)));
            if line.ends_with('&') {
                script.push_str("wait_for_gateway\n");
            }
        }
    }
    script.push_str("kill $!\nwait $!\necho the README holds\n");
    script
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The machines of the examples, and a home for the CA.
const SETTING: &str = r#"set -euo pipefail
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
CONFIG
mkdir bin
for tool in ssh scp; do
    printf '#!/bin/sh\nexec %s -F %s "$@"\n' "$(command -v $tool)" "$PWD/ssh_config" >bin/$tool
    chmod +x bin/$tool
done
PATH=$PWD/bin:$PATH
/usr/sbin/sshd -D -f "$PWD/sshd_config" &
sshd=$!
trap 'kill $sshd' EXIT
for _ in $(seq 200); do (exec 3<>/dev/tcp/127.0.0.1/2222) 2>/dev/null && break; sleep 0.05; done
announce() { printf '\n[README.md, block at line %s] %s\n' "$1" "$2"; }
wait_for_gateway() {
    for _ in $(seq 200); do (exec 3<>/dev/tcp/127.0.0.1/4523) 2>/dev/null && return; sleep 0.05; done
    echo 'the gateway does not listen'; exit 1
}
mkdir -m 0700 home
cd home
"#;

#[test]
fn every_command_of_the_readme_works_as_written() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let blocks = blocks(&readme);
    let languages: Vec<&str> = blocks.iter().map(|block| block.language).collect();
    assert!(languages.iter().all(|language| ["sh", "yaml", "text"].contains(language)), "{languages:?}");

    let work = tempfile::tempdir().unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_cluster-ca")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let output = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "bash", "-c", &session(&blocks)])
        .current_dir(work.path())
        .env("PATH", path)
        .env_remove("CLUSTER_CA_HOME")
        .output()
        .expect("unshare (util-linux) is needed and could not be started");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let told = format!("{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "a command of the README failed; the last one announced is it\n{told}");
    assert!(stdout.ends_with("the README holds\n"), "{told}");
    for promised in [
        "x-cluster-id\": \"spiffe://prod/api-user/alice",
        "\"role\": \"api-user\"",
        "Revoked api-user/alice",
        "1/1 gateway enforces CRL ",
        "1/1 enforce CRL ",
    ] {
        assert!(stdout.contains(promised), "{promised} is not in\n{told}");
    }
}

#[test]
fn every_command_that_the_readme_names_exists() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    for (program, exe) in [
        ("cluster-ca", env!("CARGO_BIN_EXE_cluster-ca")),
        ("cluster-gateway", env!("CARGO_BIN_EXE_cluster-gateway")),
    ] {
        for named in readme.split(&format!("`{program} ")).skip(1) {
            let command: Vec<&str> = named.split('`').next().unwrap().split(' ').collect();
            let words: Vec<&&str> = command
                .iter()
                .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
                .collect();
            let Some(first) = words.first().filter(|word| !word.starts_with('-')) else { continue };
            let help = Command::new(exe).args([**first, "--help"]).output().unwrap();
            assert!(help.status.success(), "{program} has no command {first}");
        }
    }
}
