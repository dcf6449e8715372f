//! Profiles with a mistake: found when they are loaded, with file and line, before anything is signed.

use std::fs;
use std::path::{Path, PathBuf};

use super::refused_without_a_trace;
use crate::home::Home;

/// The shipped profiles with one change in one file.
fn templates(home: &Home, file: &str, from: &str, to: &str) -> PathBuf {
    let directory = home.path("templates");
    if directory.exists() {
        fs::remove_dir_all(&directory).expect("removed");
    }
    fs::create_dir(&directory).expect("a directory");
    for entry in
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("ca-templates")).expect("the profiles")
    {
        let path = entry.expect("an entry").path();
        fs::copy(&path, directory.join(path.file_name().expect("a name"))).expect("a copy");
    }
    let path = directory.join(file);
    let text = fs::read_to_string(&path).expect("a profile");
    assert!(text.contains(from), "{file} has no `{from}`");
    fs::write(&path, text.replacen(from, to, 1)).expect("a profile");
    directory
}

/// The line on which `needle` stands, counted from 1.
fn line_of(file: &Path, needle: &str) -> usize {
    let text = fs::read_to_string(file).expect("a profile");
    1 + text.lines().position(|line| line.contains(needle)).expect("the line")
}

#[test]
fn a_mistake_in_a_profile_is_named_with_file_and_line() {
    let home = Home::initialized();
    for (file, from, to) in [
        ("api-user.yaml", "  default: 90d", "  defualt: 90d"),
        ("api-user.yaml", "  default: 90d", "  default: 90"),
        ("api-user.yaml", "  default: 90d", "  default: 3 months"),
        ("api-user.yaml", "  maximum: 365d", "  maximum: 30y"),
        ("api-user.yaml", "  maximum: 365d", "  maximum: 1d"),
        ("node-agent.yaml", "  ca: false", "  ca: true"),
        ("node-agent.yaml", "version: 1", "version: 2"),
        ("control-service.yaml", "spiffe://{trust_domain}", "spiffe://elsewhere"),
        ("root.yaml", "[key_cert_sign, crl_sign]", "[key_cert_sign, fly]"),
        ("api-user.yaml", "[ecdsa-p256,", "[md5,"),
        ("api-user.yaml", "role: api-user", "role: node-agent"),
    ] {
        let directory = templates(&home, file, from, to);
        let path = directory.to_str().expect("text");
        let place = format!("{file}:{}", line_of(&directory.join(file), to));
        let refusal = refused_without_a_trace(
            &home,
            &["--templates", path, "create-api-user", "bob"],
            1,
            "profile.rules",
        );
        assert!(refusal.words().contains(&place), "`{to}` is not placed at {place}: {refusal:?}");
        let checked = home.run(&["profiles", "check", path]);
        assert_eq!(checked.exit, Some(1), "{to}: {checked:?}");
    }
}

#[test]
fn every_mistake_is_reported_at_once() {
    let home = Home::initialized();
    let directory = templates(&home, "api-user.yaml", "version: 1", "version: 9");
    fs::write(directory.join("stranger.yaml"), "version: 1\n").expect("a file");
    fs::remove_file(directory.join("root.yaml")).expect("removed");
    let refusal = home.refused(&["--templates", directory.to_str().expect("text"), "create-api-user", "bob"]);
    for word in ["api-user.yaml", "stranger", "root"] {
        assert!(refusal.words().contains(word), "{word}: {refusal:?}");
    }
}

#[test]
fn the_shipped_profiles_are_good() {
    let home = Home::empty();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("ca-templates");
    home.ok(&["profiles", "check", shipped.to_str().expect("text")]);
    home.ok(&["profiles", "check"]);
}

#[test]
fn profiles_that_any_user_could_change_are_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::initialized();
    let directory = templates(&home, "api-user.yaml", "  default: 90d", "  default: 89d");
    let file = directory.join("api-user.yaml");
    let chmod =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    let given = directory.to_str().expect("text").to_owned();
    let arguments = ["--templates", &given, "create-api-user", "bob"];
    for (path, open, closed) in
        [(&directory, 0o777, 0o755), (&directory, 0o1777, 0o755), (&file, 0o666, 0o644)]
    {
        chmod(path, open);
        let refusal = refused_without_a_trace(&home, &arguments, 1, "file.writable_by_all");
        assert!(refusal.message.contains(path.to_str().expect("text")), "{refusal:?}");
        assert!(refusal.hint.contains("chmod o-w"), "{refusal:?}");
        chmod(path, closed);
    }
    home.ok(&arguments);
}
