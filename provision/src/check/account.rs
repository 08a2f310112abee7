//! Users, groups and subordinate ids as `/etc` has them (passwd(5), group(5), subuid(5)).

/// The name of a group.
pub(super) fn group_name(group_file: &str, gid: u32) -> Option<String> {
    named(group_file, gid)
}

/// Whether there is a group of that name.
pub(super) fn group_exists(group_file: &str, name: &str) -> bool {
    group_file.lines().any(|line| line.split(':').next() == Some(name))
}

/// The name of a user.
pub(super) fn user_name(passwd_file: &str, uid: u32) -> Option<String> {
    named(passwd_file, uid)
}

/// Whether `/etc/subuid` or `/etc/subgid` gives a user, by name or number, any ids.
pub(super) fn has_subordinate_ids(file: &str, user: Option<&str>, uid: u32) -> bool {
    file.lines().any(|line| {
        let mut fields = line.split(':');
        let owner = fields.next().unwrap_or_default();
        let count = fields.nth(1).and_then(|count| count.trim().parse::<u64>().ok());
        (Some(owner) == user || owner == uid.to_string()) && count.is_some_and(|count| count > 0)
    })
}

/// The first id behind all that `/etc/subuid` or `/etc/subgid` has given away.
pub(super) fn first_free_id(file: &str) -> u64 {
    // Where useradd begins (SUB_UID_MIN in login.defs(5)).
    const FIRST: u64 = 100_000;
    let ends = file.lines().filter_map(|line| {
        let (_, range) = line.split_once(':')?;
        let (start, count) = range.split_once(':')?;
        start.parse::<u64>().ok()?.checked_add(count.trim().parse().ok()?)
    });
    ends.max().unwrap_or(FIRST).max(FIRST)
}

/// The first field of the line whose third is `id`: passwd(5) and group(5) agree in that.
fn named(file: &str, id: u32) -> Option<String> {
    let line =
        file.lines().find(|line| line.split(':').nth(2).is_some_and(|field| field.parse() == Ok(id)))?;
    line.split(':').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_number() {
        let groups = "root:x:0:\nkvm:x:105:ann,bob\nbroken\n";
        assert_eq!(group_name(groups, 105).as_deref(), Some("kvm"));
        assert_eq!(group_name(groups, 7), None);
        assert!(group_exists(groups, "kvm") && !group_exists(groups, "kv"));
        assert_eq!(user_name("ann:x:1000:1000::/home/ann:/bin/sh", 1000).as_deref(), Some("ann"));
    }

    #[test]
    fn subordinate_ids_belong_to_a_name_or_a_number_and_are_more_than_none() {
        let file = "ann:100000:65536\n1001:165536:65536\ncid:1:0\n";
        assert!(has_subordinate_ids(file, Some("ann"), 1000));
        assert!(has_subordinate_ids(file, None, 1001));
        assert!(!has_subordinate_ids(file, Some("cid"), 1002));
        assert!(!has_subordinate_ids("", None, 1000));
        assert_eq!((first_free_id(file), first_free_id("")), (231_072, 100_000));
    }
}
