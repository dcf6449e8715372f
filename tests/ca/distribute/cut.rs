//! Connections that are cut at any point of a delivery.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::eventually::eventually;
use crate::home::Home;

use super::sshd::Machine;
use super::with_alice;

/// Number of bytes in each direction after which the connection is cut.
#[derive(Clone, Copy, Debug)]
struct Cut {
    to_machine: usize,
    from_machine: usize,
}

impl Cut {
    const NEVER: Self = Self { to_machine: usize::MAX, from_machine: usize::MAX };
}

/// TCP proxy in front of the machine that cuts connections and counts bytes.
struct Wire {
    port: u16,
    cut: Arc<Mutex<Cut>>,
    passed: Arc<[AtomicUsize; 2]>,
}

impl Wire {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let wire = Self {
            port: listener.local_addr().expect("an address").port(),
            cut: Arc::new(Mutex::new(Cut::NEVER)),
            passed: Arc::default(),
        };
        let (cut, passed) = (Arc::clone(&wire.cut), Arc::clone(&wire.passed));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let Cut { to_machine, from_machine } = *cut.lock().expect("a lock");
                carry(&client, &server, to_machine, &passed, 0);
                carry(&server, &client, from_machine, &passed, 1);
            }
        });
        wire
    }

    fn set(&self, cut: Cut) {
        *self.cut.lock().expect("a lock") = cut;
        self.passed.iter().for_each(|passed| passed.store(0, Ordering::SeqCst));
    }

    fn passed(&self, direction: usize) -> usize {
        self.passed[direction].load(Ordering::SeqCst)
    }
}

/// Forward at most `most` bytes in one direction, then close both.
fn carry(from: &TcpStream, to: &TcpStream, most: usize, passed: &Arc<[AtomicUsize; 2]>, direction: usize) {
    let (mut from, mut to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
    let passed = Arc::clone(passed);
    thread::spawn(move || {
        let mut left = most;
        let mut buffer = [0; 4096];
        while left > 0 {
            let room = left.min(buffer.len());
            let read = from.read(&mut buffer[..room]).unwrap_or(0);
            if read == 0 || to.write_all(&buffer[..read]).is_err() {
                break;
            }
            passed[direction].fetch_add(read, Ordering::SeqCst);
            left -= read;
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// Deliver through the proxy; returns the error code, if any.
fn deliver(machine: &Machine, home: &Home, directory: &str) -> Option<String> {
    let to = machine.destination("wired", directory);
    let finished = machine.run(home, &["distribute", "api-user/alice", "--to", &to]);
    (finished.exit != Some(0)).then(|| {
        let refusal = finished.refusal();
        assert_eq!(refusal.exit, 4, "{refusal:?}");
        refusal.code
    })
}

type Files = BTreeMap<String, (u32, Vec<u8>)>;

/// Cut the connection at many offsets between its first and last byte, in one direction.
fn cut_everywhere(direction: usize) {
    // Even steps over the whole, and small ones at the end, where few bytes decide much.
    const EVENLY: usize = 12;
    const CLOSELY: [usize; 8] = [1, 40, 80, 120, 200, 300, 450, 600];
    let (machine, home) = (Machine::start(), with_alice());
    // A large file to be cut in: text around the certificates is allowed.
    let bundle = std::fs::read_to_string(home.path("cluster.crt")).expect("the trust bundle");
    home.write("cluster.crt", "# a long remark\n".repeat(20_000) + &bundle);
    let wire = Wire::to(machine.port());
    machine.configure_client(&format!("Host wired\n Port {}\n", wire.port));
    assert_eq!(deliver(&machine, &home, "whole"), None);
    let (all, new): (usize, Files) = (wire.passed(direction), machine.files("whole"));
    let old: Files = new.iter().map(|(name, (mode, _))| (name.clone(), (*mode, b"old".to_vec()))).collect();
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    let evenly = (0..EVENLY).map(|place| all * place / EVENLY);
    for bytes in evenly.chain(CLOSELY.map(|before_the_end| all - before_the_end)) {
        let directory = format!("cut-{bytes}");
        std::fs::create_dir(machine.path(&directory)).expect("a directory");
        for (name, (mode, contents)) in &old {
            let path = machine.path(&directory).join(name);
            std::fs::write(&path, contents).expect("a file");
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(*mode))
                .expect("a mode");
        }
        wire.set(match direction {
            0 => Cut { to_machine: bytes, ..Cut::NEVER },
            _ => Cut { from_machine: bytes, ..Cut::NEVER },
        });
        let code = deliver(&machine, &home, &directory);
        // The remote script notices the end a moment later, and cleans up.
        let files = eventually("all files old or all files new, and no others", || {
            let files = machine.files(&directory);
            (files == old || files == new).then_some(files)
        });
        match code.as_deref() {
            // The last bytes only close the connection.
            None => assert!(files == new, "cut after {bytes}: said to be delivered"),
            Some("network.unsure") => {}
            Some(code) => {
                assert!(
                    ["network.closed", "network.unreachable"].contains(&code),
                    "cut after {bytes}: {code}"
                );
                assert!(files == old, "cut after {bytes}: said to be unchanged");
            }
        }
        *codes.entry(code.unwrap_or_default()).or_default() += 1;
    }
    assert!(codes.contains_key("network.unreachable"), "{codes:?}");
    // Output sent before the cut has arrived; in the other direction there may be none yet.
    assert!(direction == 0 || codes.contains_key("network.closed"), "{codes:?}");
}

#[test]
fn a_cut_towards_the_machine_leaves_all_former_files() {
    cut_everywhere(0);
}

#[test]
fn a_cut_from_the_machine_leaves_all_former_or_all_new_files() {
    cut_everywhere(1);
}
