//! Whole seeds, as the guest gets them.

use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

static HOST_KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate("host").unwrap());

fn wish(user: Option<(&str, UserDataMode)>) -> SeedWish<'static> {
    SeedWish {
        hostname: "debian",
        login_key: "ssh-ed25519 AAAALOGIN provision\n",
        host_key: &HOST_KEY,
        user_data: user.map(|(text, mode)| UserData { path: "my.yaml".into(), text: text.to_owned(), mode }),
        grow_root: false,
        mac: "52:54:00:12:34:56",
        ready_port: "org.ivshmem.ready",
    }
}

fn seed(user: Option<(&str, UserDataMode)>) -> Seed {
    Seed::new(&wish(user)).unwrap()
}

fn config(seed: &Seed) -> Value {
    serde_json::from_str(seed.user_data.strip_prefix("#cloud-config\n").unwrap()).unwrap()
}

/// The user-data with the random key replaced and the long script cut, and the notes.
fn shown(seed: &Seed) -> String {
    let mut text = seed.user_data.clone();
    let script = serde_json::to_string(include_str!("ivshmem-report.sh")).unwrap();
    let private = serde_json::to_string(HOST_KEY.private_text()).unwrap();
    for (long, short) in
        [(script.as_str(), "\"<script>\""), (&private, "\"<private>\""), (HOST_KEY.public_line(), "<public>")]
    {
        assert!(text.contains(long), "{short}");
        text = text.replace(long, short);
    }
    format!("{text}notes: {:#?}\n", seed.notes)
}

#[test]
fn the_plain_seed() {
    let seed = seed(None);
    insta::assert_snapshot!(shown(&seed));
    insta::assert_snapshot!(seed.network_config);
    let meta: Value = serde_json::from_str(&seed.meta_data).unwrap();
    assert_eq!(meta, json!({"instance-id": seed.instance_id, "local-hostname": "debian"}));
}

const PACKAGES: &str = "\
#cloud-config
hostname: lab
packages: [git, vim]
runcmd:
  - echo done > /root/done
bootcmd:
  - echo early
users:
  - default
  - name: debian
    groups: [kvm]
    ssh_authorized_keys: ssh-ed25519 AAAAMINE me
write_files:
  - {path: /etc/motd, content: hello, permissions: 0600}
ssh_keys:
  ed25519_private: mine
";

#[test]
fn a_cloud_config_merged_into_ours() {
    insta::assert_snapshot!(shown(&seed(Some((PACKAGES, UserDataMode::Merge)))));
}

#[test]
fn a_cloud_config_in_place_of_ours() {
    let user = "users: [{name: eve}]\nruncmd: [date]\nbootcmd: [[echo, early]]\n";
    insta::assert_snapshot!(shown(&seed(Some((user, UserDataMode::Replace)))));
}

#[test]
fn an_unknown_key_keeps_the_images_module_lists() {
    let seed = seed(Some(("later: 1", UserDataMode::Merge)));
    assert!(config(&seed).get("cloud_init_modules").is_none());
    assert_eq!(seed.notes.len(), 1);
}

#[test]
fn growing_the_root_runs_the_modules_for_it() {
    let seed = Seed::new(&SeedWish { grow_root: true, ..wish(None) }).unwrap();
    let modules = config(&seed)["cloud_init_modules"].to_string();
    assert!(modules.contains("\"growpart\",\"resizefs\""), "{modules}");
}

#[test]
fn what_the_reports_need_cannot_be_lost() {
    for mode in [UserDataMode::Merge, UserDataMode::Replace] {
        let error = Seed::new(&wish(Some(("bootcmd: echo", mode)))).unwrap_err().to_string();
        assert!(error.starts_with("--user-data my.yaml: bootcmd is text, but must be a list"), "{error}");
        let kept = config(&seed(Some(("bootcmd:\nssh_keys: no\nssh_authorized_keys:\n", mode))));
        assert_eq!(kept["bootcmd"].as_array().unwrap().len(), 3);
        assert_eq!(kept["ssh_keys"]["ed25519_private"], HOST_KEY.private_text());
    }
}

#[test]
fn a_name_that_yaml_takes_for_a_truth_value_stays_a_name() {
    let seed = Seed::new(&SeedWish { hostname: "no", ..wish(None) }).unwrap();
    assert!(seed.user_data.contains("\"hostname\": \"no\"") && seed.meta_data.contains("\"no\""));
}

#[test]
fn the_instance_id_changes_with_the_content_and_with_nothing_else() {
    let plain = seed(None);
    assert_eq!((plain.instance_id.len(), plain.sha256.len()), (24, 64));
    let ids = [
        seed(Some(("", UserDataMode::Merge))),
        seed(Some(("# only a comment\n", UserDataMode::Merge))),
        seed(Some(("hostname: other", UserDataMode::Merge))),
        seed(Some(("", UserDataMode::Replace))),
        Seed::new(&SeedWish { mac: "52:54:00:12:34:57", ..wish(None) }).unwrap(),
    ]
    .map(|seed| (seed.instance_id == plain.instance_id, seed.sha256 == plain.sha256));
    assert_eq!(ids, [(true, true), (true, true), (false, false), (false, false), (false, false)]);
}

#[test]
fn the_same_seed_gives_the_same_volume() {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| directory.path().join(name));
    for path in &paths {
        seed(None).write_volume(path).unwrap();
    }
    let [a, b] = paths.map(|path| std::fs::read(path).unwrap());
    assert!(a == b && a.len() == 1 << 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_mapping_gives_a_seed_with_our_key_or_one_line(user in merge::tests::any_mapping(), replace in any::<bool>()) {
        let mode = if replace { UserDataMode::Replace } else { UserDataMode::Merge };
        let text = Value::Object(user).to_string();
        match Seed::new(&wish(Some((&text, mode)))) {
            Ok(seed) => {
                let config = config(&seed);
                prop_assert_eq!(&config["ssh_keys"]["ed25519_private"], HOST_KEY.private_text());
                prop_assert!(config["bootcmd"][0][3] == "/usr/local/sbin/ivshmem-report");
                prop_assert!(seed.notes.iter().all(|note| !note.chars().any(char::is_control)));
            }
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }
}
