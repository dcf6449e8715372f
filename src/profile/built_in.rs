//! The compiled-in profiles.

/// The role of the root in profiles; an identity never has it.
pub(super) const ROOT: &str = "root";

/// The files of the compiled-in profiles: their names and their texts.
pub const BUILT_IN: [(&str, &str); 4] = [
    ("root.yaml", include_str!("../../ca-templates/root.yaml")),
    ("control-service.yaml", include_str!("../../ca-templates/control-service.yaml")),
    ("node-agent.yaml", include_str!("../../ca-templates/node-agent.yaml")),
    ("api-user.yaml", include_str!("../../ca-templates/api-user.yaml")),
];
