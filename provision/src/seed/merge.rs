//! How a user's cloud-config is added to ours. Mappings merge key by key, lists append (ours first), and in
//! anything else the user's word wins. A key without a value (`runcmd:` alone on its line) says nothing.

use serde_json::{Map, Value, json};

/// The user's settings added to ours.
pub(super) fn merge(mut ours: Map<String, Value>, user: Map<String, Value>) -> Map<String, Value> {
    for (key, theirs) in user {
        let mine = ours.remove(&key);
        let merged = match (mine, theirs) {
            (Some(mine), theirs) if key == "users" && !theirs.is_null() => users(mine, theirs),
            // Keys for one user may be given as text; ours must not be lost to that.
            (Some(Value::Array(mine)), Value::String(theirs)) if key == "ssh_authorized_keys" => {
                Value::Array(mine.into_iter().chain([theirs.into()]).collect())
            }
            (Some(mine), theirs) => value(mine, theirs),
            (None, theirs) => theirs,
        };
        ours.insert(key, merged);
    }
    ours
}

fn value(ours: Value, theirs: Value) -> Value {
    match (ours, theirs) {
        (ours, Value::Null) => ours,
        (Value::Object(ours), Value::Object(theirs)) => Value::Object(merge(ours, theirs)),
        (Value::Array(ours), Value::Array(theirs)) => Value::Array(ours.into_iter().chain(theirs).collect()),
        (_, theirs) => theirs,
    }
}

/// Two lists of users: entries with the same name become one. The entry `default`, the image's own user, is kept;
/// cloud-init itself makes one of it and an entry with that user's name.
fn users(ours: Value, theirs: Value) -> Value {
    let mut list = user_list(ours);
    for user in user_list(theirs) {
        let same = list.iter_mut().find(|known| name_of(known).is_some() && name_of(known) == name_of(&user));
        match (same, user) {
            (Some(Value::Object(known)), Value::Object(user)) => {
                *known = merge(std::mem::take(known), user);
            }
            // A bare name adds nothing to an entry that is there, and an entry says more than a bare name.
            (Some(known), user) => {
                if known.is_string() {
                    *known = user;
                }
            }
            (None, user) => list.push(user),
        }
    }
    Value::Array(list)
}

fn name_of(user: &Value) -> Option<&str> {
    user.as_str().or_else(|| user.get("name")?.as_str())
}

/// The forms cloud-init allows for `users`, as the list they stand for: a list, names with commas between them, or
/// a mapping of names.
pub(super) fn user_list(users: Value) -> Vec<Value> {
    match users {
        Value::Array(list) => list,
        Value::String(names) => {
            names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(Value::from).collect()
        }
        Value::Object(map) => map
            .into_iter()
            .filter_map(|(name, settings)| match settings {
                Value::Object(settings) => {
                    Some(Value::Object(merge(settings, Map::from_iter([("name".to_owned(), json!(name))]))))
                }
                Value::Null | Value::Bool(false) => None,
                _ => Some(name.into()),
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    /// Any JSON, with keys that our own configuration has, too.
    pub(in crate::seed) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..5).prop_map(Value::from),
                btree_map(any_key(), inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Any mapping.
    pub(in crate::seed) fn any_mapping() -> impl Strategy<Value = Map<String, Value>> {
        btree_map(any_key(), any_json(), 0..6).prop_map(|map| map.into_iter().collect())
    }

    fn any_key() -> impl Strategy<Value = String> {
        prop_oneof![
            proptest::sample::select(vec![
                "users",
                "name",
                "bootcmd",
                "ssh_keys",
                "ssh_authorized_keys",
                "write_files",
                "permissions",
                "ssh",
                "hostname",
                "runcmd",
                "growpart",
                "ed25519_private",
            ])
            .prop_map(str::to_owned),
            "[a-z]{1,3}",
        ]
    }

    proptest! {
        #[test]
        fn an_empty_mapping_changes_nothing(ours in any_mapping()) {
            prop_assert_eq!(merge(ours.clone(), Map::new()), ours);
        }

        #[test]
        fn the_users_scalar_wins(ours in any_mapping(), key in "[a-z]{1,3}", scalar in any::<i64>()) {
            let user = Map::from_iter([(key.clone(), json!(scalar))]);
            prop_assert_eq!(&merge(ours, user)[&key], &json!(scalar));
        }

        #[test]
        fn every_key_of_both_is_there(ours in any_mapping(), user in any_mapping()) {
            let merged = merge(ours.clone(), user.clone());
            prop_assert!(ours.keys().chain(user.keys()).all(|key| merged.contains_key(key)));
        }

        #[test]
        fn ours_into_nothing_is_the_users(user in any_mapping()) {
            prop_assert_eq!(merge(Map::new(), user.clone()), user);
        }
    }

    fn merged(ours: Value, user: Value) -> Value {
        let (Value::Object(ours), Value::Object(user)) = (ours, user) else { panic!("not mappings") };
        Value::Object(merge(ours, user))
    }

    #[test]
    fn lists_append_mappings_merge_and_nothing_says_nothing() {
        let ours = json!({"a": [1], "b": {"c": 1, "d": [1]}, "e": [1]});
        let user = json!({"a": [2], "b": {"c": 2, "d": [2]}, "e": null, "f": null});
        assert_eq!(merged(ours, user), json!({"a": [1, 2], "b": {"c": 2, "d": [1, 2]}, "e": [1], "f": null}));
    }

    #[test]
    fn an_entry_for_our_user_is_merged_into_ours_and_others_follow() {
        let ours =
            json!({"users": [{"name": "debian", "shell": "/bin/bash", "ssh_authorized_keys": ["ours"]}]});
        let user = json!({"users": [
            "default", {"name": "debian", "shell": "/bin/sh", "ssh_authorized_keys": "theirs"}, {"name": "eve"}, "default",
        ]});
        assert_eq!(
            merged(ours, user),
            json!({"users": [
                {"name": "debian", "shell": "/bin/sh", "ssh_authorized_keys": ["ours", "theirs"]},
                "default",
                {"name": "eve"},
            ]})
        );
    }

    #[test]
    fn users_may_be_given_in_any_form_cloud_init_takes() {
        assert_eq!(user_list(json!("default, eve")), [json!("default"), json!("eve")]);
        assert_eq!(
            user_list(json!({"default": true, "eve": {"shell": "x"}, "no": false})),
            [json!("default"), json!({"name": "eve", "shell": "x"})]
        );
    }
}
