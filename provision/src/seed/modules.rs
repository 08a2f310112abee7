//! Which of cloud-init's modules a configuration needs. A stock boot runs some fifty, most of them to find that
//! they have nothing to do; under TCG that costs half a minute.
//!
//! A key that is not in the table may belong to any module, so one such key and nothing is trimmed.

use serde_json::{Map, Value, json};

use super::module_table::{KEYS, NOT_RUN_ON_DEBIAN, STAGES, When};
use crate::qemu::complaint::printable;

/// Adds the lists of the modules `config` needs, or says in `notes` why the image's own are left to run.
pub(super) fn trim(config: &mut Map<String, Value>, notes: &mut Vec<String>) {
    if let Some((stage, _)) = STAGES.iter().find(|(stage, _)| config.contains_key(*stage)) {
        notes.push(format!(
            "the user-data sets {stage}: cloud-init's modules are not trimmed; the list must have bootcmd, \
             users-groups and ssh"
        ));
        return;
    }
    let unknown: Vec<&str> = config.keys().map(String::as_str).filter(|key| !is_known(key)).collect();
    if !unknown.is_empty() {
        notes.push(format!(
            "the user-data has {}, of which it is not known which module of cloud-init reads it: all are run, and the \
             boot takes longer",
            printable_list(&unknown)
        ));
        return;
    }
    for key in config.keys().filter(|key| NOT_RUN_ON_DEBIAN.contains(&key.as_str())) {
        notes.push(format!(
            "the user-data's {key} has no effect: Debian's cloud-init does not run its module"
        ));
    }
    let needed: Vec<&str> = KEYS
        .iter()
        .filter(|(keys, when, _)| {
            keys.iter().any(|key| config.get(*key).is_some_and(|value| applies(*when, value)))
        })
        .flat_map(|(_, _, modules)| modules.iter().copied())
        .collect();
    for (stage, modules) in STAGES {
        let list: Vec<&str> = modules.iter().copied().filter(|module| needed.contains(module)).collect();
        config.insert(stage.to_owned(), json!(list));
    }
}

fn is_known(key: &str) -> bool {
    KEYS.iter().any(|(keys, _, _)| keys.contains(&key)) || NOT_RUN_ON_DEBIAN.contains(&key)
}

/// At most some of the keys, free of control characters: they are the user's and go to a terminal.
fn printable_list(keys: &[&str]) -> String {
    let shown: Vec<String> = keys
        .iter()
        .take(5)
        .map(|key| format!("'{}'", printable(&key.chars().take(40).collect::<String>())))
        .collect();
    shown.join(", ")
}

fn applies(when: When, value: &Value) -> bool {
    match when {
        When::Present => !value.is_null(),
        When::On => is_on(value),
        When::Off => !is_on(value),
        When::Deferred => entries(value).any(|file| file.get("defer").is_some_and(is_on)),
        When::Script => entries(value).any(|file| {
            file.get("path").and_then(Value::as_str).is_some_and(|p| p.contains("/cloud/scripts/"))
        }),
        When::UserHas(key) => value.get(key).is_some() || entries(value).any(|user| user.get(key).is_some()),
    }
}

fn entries(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// As cloud-init reads a truth value. A mapping or list is on when something in it is.
fn is_on(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(word) => !["", "0", "false", "no", "off"].contains(&word.to_ascii_lowercase().as_str()),
        Value::Array(list) => list.iter().any(is_on),
        Value::Object(map) => map.values().any(is_on),
        Value::Bool(true) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trimmed(config: Value) -> (Vec<String>, Vec<String>) {
        let Value::Object(mut config) = config else { panic!("not a mapping") };
        let mut notes = Vec::new();
        trim(&mut config, &mut notes);
        let modules = STAGES.iter().filter_map(|(stage, _)| config.get(*stage)?.as_array());
        (modules.flatten().map(|module| module.as_str().unwrap().to_owned()).collect(), notes)
    }

    #[test]
    fn every_module_of_the_table_is_one_of_a_stage() {
        let known: Vec<&str> = STAGES.iter().flat_map(|(_, modules)| modules.iter().copied()).collect();
        let modules = KEYS.iter().flat_map(|(_, _, modules)| modules.iter());
        assert_eq!(modules.filter(|module| !known.contains(module)).count(), 0);
    }

    #[test]
    fn modules_are_those_needed_in_the_images_order() {
        let config =
            json!({"runcmd": ["a"], "packages": ["git"], "write_files": [{"path": "/a"}], "bootcmd": ["b"]});
        let modules = [
            "bootcmd",
            "write-files",
            "apt-configure",
            "runcmd",
            "package-update-upgrade-install",
            "scripts-user",
        ];
        assert_eq!(trimmed(config), (modules.map(str::to_owned).to_vec(), vec![]));
    }

    #[test]
    fn what_is_switched_off_needs_no_module() {
        let off = json!({
            "growpart": {"mode": "off"}, "resize_rootfs": false, "locale": "false", "ssh_pwauth": false,
            "package_upgrade": false, "ssh": {"emit_keys_to_console": false}, "no_ssh_fingerprints": true,
        });
        assert_eq!(trimmed(off), (vec![], vec![]));
        let on = json!({
            "growpart": {"mode": "auto"}, "resize_rootfs": "noblock", "locale": "C.UTF-8", "ssh_pwauth": true,
            "package_upgrade": true, "ssh": {"emit_keys_to_console": true}, "no_ssh_fingerprints": false,
        });
        assert_eq!(trimmed(on).0.len(), 8);
    }

    #[test]
    fn deferred_files_scripts_and_imported_keys_need_their_modules() {
        let files = json!({"write_files": [{"path": "/var/lib/cloud/scripts/per-boot/a", "defer": true}]});
        assert_eq!(trimmed(files).0.len(), 7);
        assert_eq!(trimmed(json!({"users": [{"name": "a", "ssh_import_id": ["gh:a"]}]})).0.len(), 2);
    }

    #[test]
    fn an_unknown_key_or_a_list_of_the_users_leaves_all_modules_to_run() {
        let (modules, notes) = trimmed(json!({"future\u{1b}key": 1}));
        assert!(modules.is_empty() && notes[0].contains("'future key'"), "{notes:?}");
        let (modules, notes) = trimmed(json!({"cloud_final_modules": [], "runcmd": ["x"]}));
        assert!(modules.is_empty() && notes[0].contains("cloud_final_modules"), "{notes:?}");
    }

    #[test]
    fn a_key_that_debian_ignores_is_pointed_out() {
        let (modules, notes) = trimmed(json!({"ansible": {}}));
        assert!(modules.is_empty() && notes[0].contains("ansible has no effect"), "{notes:?}");
    }
}
