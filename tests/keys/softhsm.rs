//! Tokens of a real SoftHSM for one test, and a faulty module between it and cluster-ca.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Path of the module in Debian.
pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// The user PIN of every token here.
pub(crate) const PIN: &str = "1234";

const SO_PIN: &str = "5678";

/// SoftHSM with the token `prod`, which has no keys yet.
pub(crate) struct SoftHsm {
    directory: tempfile::TempDir,
}

impl SoftHsm {
    pub(crate) fn start() -> Self {
        assert!(Path::new(MODULE).exists(), "{MODULE} is missing: run all tests with scripts/test");
        let hsm = Self { directory: tempfile::tempdir().unwrap() };
        let tokens = hsm.path("tokens");
        fs::create_dir(&tokens).unwrap();
        let settings = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        fs::write(hsm.path("softhsm2.conf"), settings).unwrap();
        hsm.add_token("prod");
        hsm
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Points a process to these tokens.
    pub(crate) fn lead(&self, command: &mut Command) {
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf")).env_remove("CLUSTER_CA_PKCS11_PIN");
    }

    pub(crate) fn add_token(&self, label: &str) {
        let new = ["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN];
        self.run("softhsm2-util", &new);
    }

    /// Runs `pkcs11-tool` on a token, logged in.
    pub(crate) fn tool(&self, token: &str, arguments: &[&str]) -> String {
        let first = ["--module", MODULE, "--token-label", token, "--login", "--pin", PIN];
        self.run("pkcs11-tool", &[&first, arguments].concat())
    }

    /// Generates a P-256 key pair in the token `prod`; `more` sets its usage.
    pub(crate) fn make_key(&self, label: &str, id: &str, more: &[&str]) {
        self.make_key_of("EC:prime256v1", label, id, more);
    }

    pub(crate) fn make_key_of(&self, key_type: &str, label: &str, id: &str, more: &[&str]) {
        let new = ["--keypairgen", "--key-type", key_type, "--label", label, "--id", id];
        self.tool("prod", &[&new, more].concat());
    }

    /// Writes a foreign public key to the token, which needs no PIN.
    pub(crate) fn plant_public_key(&self, id: &str) {
        let (private, public) = (self.path("planted.key"), self.path("planted.der"));
        let (private, public) = (private.to_str().unwrap(), public.to_str().unwrap());
        let curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
        self.run("openssl", &[&["genpkey"], &curve[..], &["-out", private]].concat());
        self.run("openssl", &["pkey", "-in", private, "-pubout", "-outform", "DER", "-out", public]);
        let write = ["--write-object", public, "--type", "pubkey", "--id", id];
        self.run("pkcs11-tool", &[&["--module", MODULE, "--token-label", "prod"], &write[..]].concat());
    }

    /// Removes the tokens by moving their files.
    pub(crate) fn remove_tokens(&self) {
        fs::rename(self.path("tokens"), self.path("elsewhere")).unwrap();
        fs::create_dir(self.path("tokens")).unwrap();
    }

    /// Compiles the faulty module.
    pub(crate) fn faulty_module(&self) -> String {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/token_fault.c");
        self.compile(source, "fault.so")
    }

    /// Compiles a library from C.
    pub(crate) fn compile(&self, source: &str, name: &str) -> String {
        let library = self.path(name).into_os_string().into_string().unwrap();
        self.run("cc", &["-shared", "-fPIC", "-o", &library, source]);
        fs::set_permissions(&library, Permissions::from_mode(0o755)).unwrap();
        library
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        self.lead(&mut command);
        let output = command.args(arguments).output().unwrap_or_else(|error| {
            panic!("{program} is missing ({error}): run all tests with scripts/test")
        });
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }
}
