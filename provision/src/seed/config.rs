//! Our cloud-config, and what has to hold in any: the guest is reached with a key of ours, is known by a host key
//! of ours, and reports to the host.

use serde_json::{Map, Value, json};

use super::user_data::kind_of;
use super::{SeedError, SeedWish, merge, reporter};

/// Who logs in.
pub const LOGIN_USER: &str = "debian";

/// What the guest needs, without regard to the user's wishes.
///
/// Settings that only switch something off matter when the module lists are the image's own.
pub(super) fn ours(wish: &SeedWish<'_>) -> Map<String, Value> {
    let grow = if wish.grow_root { "auto" } else { "off" };
    object(json!({
        "bootcmd": reporter::commands(wish.ready_port),
        "disable_root": true,
        "growpart": { "mode": grow },
        "hostname": wish.hostname,
        // Text, not a truth value: cloud-init's schema wants text, and its code reads "false" as a no.
        // Making a locale takes long, and the image has C.UTF-8.
        "locale": "false",
        // A line in /etc/hosts: without it sudo complains that it cannot resolve the host's name.
        "manage_etc_hosts": "localhost",
        "no_ssh_fingerprints": true,
        "package_update": false,
        "package_upgrade": false,
        "resize_rootfs": wish.grow_root,
        "ssh": { "emit_keys_to_console": false },
        "ssh_deletekeys": true,
        "ssh_genkeytypes": ["ed25519"],
        "ssh_keys": host_key(wish),
        "ssh_pwauth": false,
        "users": [{
            "name": LOGIN_USER,
            "lock_passwd": true,
            "shell": "/bin/bash",
            "ssh_authorized_keys": [wish.login_key.trim()],
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
        }],
        // sshd takes the first word on a matter, and cloud-init's own answer to a user's ssh_pwauth is
        // 50-cloud-init.conf: ours comes after it. Without this, cloud-init would restart sshd to say the same.
        "write_files": [{
            "path": "/etc/ssh/sshd_config.d/60-ivshmem.conf",
            "content": "PasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            "permissions": "0644",
        }],
    }))
}

/// The user's settings added to ours.
pub(super) fn merged(
    wish: &SeedWish<'_>,
    user: Map<String, Value>,
    notes: &mut Vec<String>,
) -> Result<Map<String, Value>, SeedError> {
    need_list(&user, "bootcmd", wish)?;
    let mut config = merge::merge(ours(wish), user);
    insist_on_host_key(&mut config, wish, notes);
    text_permissions(&mut config);
    Ok(config)
}

/// The user's settings alone, and what READY needs.
pub(super) fn replaced(
    wish: &SeedWish<'_>,
    user: Map<String, Value>,
    notes: &mut Vec<String>,
) -> Result<Map<String, Value>, SeedError> {
    need_list(&user, "bootcmd", wish)?;
    need_list(&user, "ssh_authorized_keys", wish)?;
    if user.get("users").is_some_and(|users| !users.is_null() && !names_login_user(users)) {
        notes.push(format!(
            "the user-data lists users without 'default' or {LOGIN_USER}: nobody can log in with the VM's key; add \
             '- default' to users"
        ));
    }
    let needed = object(json!({
        "bootcmd": reporter::commands(wish.ready_port),
        "ssh_authorized_keys": [wish.login_key.trim()],
    }));
    let mut config = merge::merge(needed, user);
    insist_on_host_key(&mut config, wish, notes);
    text_permissions(&mut config);
    Ok(config)
}

fn host_key(wish: &SeedWish<'_>) -> Value {
    json!({
        "ed25519_private": wish.host_key.private_text(),
        "ed25519_public": wish.host_key.public_line(),
    })
}

/// The host checks the guest's key, so this one setting is not the user's to change.
fn insist_on_host_key(config: &mut Map<String, Value>, wish: &SeedWish<'_>, notes: &mut Vec<String>) {
    let keys = config.entry("ssh_keys").or_insert_with(|| json!({}));
    if !keys.is_object() {
        *keys = json!({});
    }
    for (name, key) in object(host_key(wish)) {
        let before = keys.get(&name).filter(|before| **before != key);
        if before.is_some() && name.ends_with("private") {
            notes.push(
                "the user-data's ed25519 host key is not used: the host checks the VM's own".to_owned(),
            );
        }
        keys[name] = key;
    }
}

/// cloud-init takes a number for the mode itself and text for octal digits, and its schema wants text.
fn text_permissions(config: &mut Map<String, Value>) {
    let files = config.get_mut("write_files").and_then(Value::as_array_mut);
    for file in files.into_iter().flatten() {
        if let Some(permissions) = file.get_mut("permissions")
            && let Some(mode) = permissions.as_u64()
        {
            *permissions = format!("{mode:04o}").into();
        }
    }
}

fn need_list(user: &Map<String, Value>, key: &'static str, wish: &SeedWish<'_>) -> Result<(), SeedError> {
    match user.get(key) {
        None | Some(Value::Null | Value::Array(_)) => Ok(()),
        Some(other) => Err(SeedError::NotAList {
            path: wish.user_data.as_ref().map(|data| data.path.clone()).unwrap_or_default(),
            key,
            found: kind_of(other),
        }),
    }
}

fn names_login_user(users: &Value) -> bool {
    merge::user_list(users.clone()).iter().any(|user| {
        let name = user.as_str().or_else(|| user.get("name")?.as_str());
        name.is_none_or(|name| name == "default" || name == LOGIN_USER)
    })
}

/// `json!` with braces is always an object.
fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}
