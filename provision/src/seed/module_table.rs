//! Which key of a cloud-config is read by which module: cloud-init 22.4 as Debian 12 configures it. Taken from its
//! `/etc/cloud/cloud.cfg` and, for the keys, from the schema and the code of its modules.

/// The modules of the three stages, in the order of Debian's `/etc/cloud/cloud.cfg`.
pub(super) const STAGES: [(&str, &[&str]); 3] = [
    (
        "cloud_init_modules",
        &[
            "migrator",
            "seed_random",
            "bootcmd",
            "write-files",
            "growpart",
            "resizefs",
            "disk_setup",
            "mounts",
            "set_hostname",
            "update_hostname",
            "update_etc_hosts",
            "ca-certs",
            "rsyslog",
            "users-groups",
            "ssh",
        ],
    ),
    (
        "cloud_config_modules",
        &[
            "snap",
            "ssh-import-id",
            "keyboard",
            "locale",
            "set-passwords",
            "grub-dpkg",
            "apt-pipelining",
            "apt-configure",
            "ntp",
            "timezone",
            "disable-ec2-metadata",
            "runcmd",
            "byobu",
        ],
    ),
    (
        "cloud_final_modules",
        &[
            "package-update-upgrade-install",
            "fan",
            "landscape",
            "lxd",
            "write-files-deferred",
            "puppet",
            "chef",
            "mcollective",
            "salt-minion",
            "scripts-vendor",
            "scripts-per-once",
            "scripts-per-boot",
            "scripts-per-instance",
            "scripts-user",
            "ssh-authkey-fingerprints",
            "keys-to-console",
            "install-hotplug",
            "phone-home",
            "final-message",
            "power-state-change",
        ],
    ),
];

/// When a key needs its modules.
#[derive(Clone, Copy)]
pub(super) enum When {
    /// It is there.
    Present,
    /// Its value is not false, "off" or nothing, also as the one value of a mapping: the module is off without it.
    On,
    /// Its value is false: it is an opt-out.
    Off,
    /// Some entry has `defer: true`.
    Deferred,
    /// Some file is one of cloud-init's scripts.
    Script,
    /// Some user has this key.
    UserHas(&'static str),
}

/// Keys, and the modules they need. A key with no module is known to need none.
pub(super) const KEYS: &[(&[&str], When, &[&str])] = &[
    (&["migrate"], When::On, &["migrator"]),
    (&["random_seed"], When::Present, &["seed_random"]),
    (&["bootcmd"], When::Present, &["bootcmd"]),
    (&["write_files"], When::Present, &["write-files"]),
    (&["write_files"], When::Deferred, &["write-files-deferred"]),
    (
        &["write_files"],
        When::Script,
        &["scripts-vendor", "scripts-per-once", "scripts-per-boot", "scripts-per-instance", "scripts-user"],
    ),
    (&["growpart"], When::On, &["growpart"]),
    (&["resize_rootfs"], When::On, &["resizefs"]),
    (&["disk_setup", "fs_setup", "device_aliases"], When::Present, &["disk_setup"]),
    (&["mounts", "mount_default_fields", "swap"], When::Present, &["mounts"]),
    (&["hostname", "fqdn", "prefer_fqdn_over_hostname"], When::Present, &["set_hostname"]),
    (&["preserve_hostname"], When::Present, &["set_hostname", "update_hostname"]),
    (&["manage_etc_hosts"], When::On, &["update_etc_hosts"]),
    (&["ca_certs", "ca-certs"], When::Present, &["ca-certs"]),
    (&["rsyslog"], When::Present, &["rsyslog"]),
    (&["users", "user", "groups"], When::Present, &["users-groups"]),
    (&["users", "user"], When::UserHas("ssh_import_id"), &["ssh-import-id"]),
    (
        &[
            "ssh_keys",
            "ssh_authorized_keys",
            "ssh_deletekeys",
            "ssh_genkeytypes",
            "disable_root",
            "disable_root_opts",
            "allow_public_ssh_keys",
            "ssh_quiet_keygen",
            "ssh_publish_hostkeys",
        ],
        When::Present,
        &["ssh"],
    ),
    (&["snap"], When::Present, &["snap"]),
    (&["ssh_import_id"], When::Present, &["ssh-import-id"]),
    (&["keyboard"], When::Present, &["keyboard"]),
    (&["locale"], When::On, &["locale"]),
    (&["locale_configfile"], When::Present, &["locale"]),
    (&["ssh_pwauth"], When::On, &["set-passwords"]),
    (&["chpasswd", "password"], When::Present, &["set-passwords"]),
    (&["grub_dpkg", "grub-dpkg"], When::Present, &["grub-dpkg"]),
    (&["apt_pipelining"], When::Present, &["apt-pipelining"]),
    (&["apt"], When::Present, &["apt-configure"]),
    (&["ntp"], When::Present, &["ntp"]),
    (&["timezone"], When::Present, &["timezone"]),
    (&["disable_ec2_metadata"], When::On, &["disable-ec2-metadata"]),
    // The module writes a script, which another one runs.
    (&["runcmd"], When::Present, &["runcmd", "scripts-user"]),
    (&["byobu_by_default"], When::Present, &["byobu"]),
    // Debian's images have their list of mirrors written by apt-configure.
    (
        &[
            "packages",
            "package_update",
            "package_upgrade",
            "package_reboot_if_required",
            "apt_update",
            "apt_upgrade",
            "apt_reboot_if_required",
        ],
        When::On,
        &["apt-configure", "package-update-upgrade-install"],
    ),
    (&["fan"], When::Present, &["fan"]),
    (&["landscape"], When::Present, &["landscape"]),
    (&["lxd"], When::Present, &["lxd"]),
    (&["puppet"], When::Present, &["puppet"]),
    (&["chef"], When::Present, &["chef"]),
    (&["mcollective"], When::Present, &["mcollective"]),
    (&["salt_minion"], When::Present, &["salt-minion"]),
    (&["vendor_data"], When::Present, &["scripts-vendor"]),
    (&["no_ssh_fingerprints"], When::Off, &["ssh-authkey-fingerprints"]),
    (&["authkey_hash"], When::Present, &["ssh-authkey-fingerprints"]),
    (&["ssh"], When::On, &["keys-to-console"]),
    (&["ssh_key_console_blacklist", "ssh_fp_console_blacklist"], When::Present, &["keys-to-console"]),
    (&["updates"], When::Present, &["install-hotplug"]),
    (&["phone_home"], When::Present, &["phone-home"]),
    (&["final_message"], When::Present, &["final-message"]),
    (&["power_state"], When::Present, &["power-state-change"]),
    (
        &[
            "merge_how",
            "merge_type",
            "output",
            "reporting",
            "datasource",
            "datasource_list",
            "unverified_modules",
        ],
        When::Present,
        &[],
    ),
];

/// Keys of modules that Debian's cloud-init has but does not run.
pub(super) const NOT_RUN_ON_DEBIAN: [&str; 14] = [
    "ansible",
    "apk_repos",
    "autoinstall",
    "drivers",
    "manage_resolv_conf",
    "resolv_conf",
    "rh_subscription",
    "spacewalk",
    "ubuntu_advantage",
    "ubuntu-advantage",
    "wireguard",
    "yum_repo_dir",
    "yum_repos",
    "zypper",
];
