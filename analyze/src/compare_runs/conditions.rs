//! What runs were taken on and how: what must be alike for a difference of figures to mean anything, and what is only told.

use serde::Serialize;
use serde_json::Value;

/// One thing that run.json says of a run.
struct Condition {
    /// As people say it.
    name: &'static str,
    /// Where it stands in run.json.
    pointer: &'static str,
    /// Whether figures of runs that differ in it are not comparable.
    matters: bool,
}

const fn matters(name: &'static str, pointer: &'static str) -> Condition {
    Condition { name, pointer, matters: true }
}

const fn told(name: &'static str, pointer: &'static str) -> Condition {
    Condition { name, pointer, matters: false }
}

/// The gravest first. A tool's version or a kernel is often what a comparison is about, and so is only told.
const CONDITIONS: [Condition; 40] = [
    matters("accelerator", "/vm/accelerator/effective"),
    matters("host CPU", "/host/cpu_model"),
    matters("guest CPU", "/guest/cpu_model"),
    matters("QEMU", "/vm/qemu/version"),
    matters("vCPUs", "/vm/vcpus"),
    matters("mapping", "/guest/map_kind"),
    matters("memory type", "/guest/memory_type"),
    matters("layout version", "/region/layout_version"),
    matters("page size of the region", "/region/page_bytes"),
    matters("load", "/load/label"),
    matters("loop", "/latency/loop"),
    matters("rate asked for", "/latency/rate_per_s"),
    matters("arrivals", "/latency/arrivals"),
    matters("pause between messages", "/latency/interval_ns"),
    matters("payload bytes", "/latency/payload_bytes"),
    matters("clock of one-way stamps", "/latency/one_way/host_clock"),
    matters("guest's way to wait", "/doorbell/guest_wait"),
    matters("host's way to wait", "/doorbell/host_wait"),
    matters("guest's spin", "/guest/spin"),
    matters("lane", "/region/lane"),
    matters("direction", "/bandwidth/direction"),
    matters("verification", "/bandwidth/verify"),
    matters("frames due a second", "/bandwidth/fps"),
    matters("working set", "/bandwidth/working_set_bytes"),
    told("tool", "/tool/version"),
    told("git revision", "/tool/git_revision"),
    told("guest's tool", "/guest/tool_version"),
    told("host kernel", "/host/kernel"),
    told("guest kernel", "/guest/kernel"),
    told("host's CPU pinned", "/host/cpu_pinned"),
    told("guest's CPU pinned", "/guest/cpu_pinned"),
    told("real-time priority", "/host/fifo_priority"),
    told("governor", "/host/governor"),
    told("huge pages of shared memory", "/host/transparent_hugepage_shmem"),
    told("host clock", "/host/clock/source"),
    told("guest clock", "/guest/clock/source"),
    told("host's copy kernel", "/copy_kernel"),
    told("guest's copy kernel", "/guest/copy_kernel"),
    told("messages", "/latency/messages"),
    told("record of latencies", "/latency/record"),
];

/// What stands for a value that is not there, such as the load of an idle run.
pub(crate) const NOT_RECORDED: &str = "none recorded";

/// What runs differ in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is.
    pub condition: &'static str,
    /// Whether figures of runs that differ in it are not comparable.
    pub matters: bool,
    /// The values of the base runs.
    pub base: Vec<String>,
    /// The values of the new runs.
    pub new: Vec<String>,
}

impl Difference {
    /// `accelerator (base tcg, new kvm)`.
    #[must_use]
    pub fn sentence(&self) -> String {
        // Fifty revisions of fifty runs are no sentence.
        let side = |values: &[String]| match values {
            [first, second, _, rest @ ..] if !rest.is_empty() => {
                format!("{first}, {second} and {} more", rest.len() + 1)
            }
            few => few.join(" and "),
        };
        format!("{} (base {}, new {})", self.condition, side(&self.base), side(&self.new))
    }
}

/// What run.json says of a condition; `None` where it does not apply, as without that test.
fn value(provenance: &Value, condition: &Condition) -> Option<String> {
    let section = condition.pointer.split('/').nth(1).unwrap_or_default();
    let is_test = section == "latency" || section == "bandwidth";
    if is_test && provenance.get(section).is_none_or(Value::is_null) {
        return None;
    }
    Some(match provenance.pointer(condition.pointer) {
        None | Some(Value::Null) => NOT_RECORDED.into(),
        // What a file says is shown in one line, whatever it is.
        Some(Value::String(text)) => text.chars().filter(|c| !c.is_control()).take(60).collect(),
        Some(other) => other.to_string(),
    })
}

/// All conditions in which the runs of both sides are not all alike, the gravest first.
#[must_use]
pub(crate) fn differences(base: &[&Value], new: &[&Value]) -> Vec<Difference> {
    let difference = |condition: &Condition| {
        let distinct = |runs: &[&Value]| {
            let mut values: Vec<String> = runs.iter().filter_map(|run| value(run, condition)).collect();
            values.sort();
            values.dedup();
            values
        };
        let (of_base, of_new) = (distinct(base), distinct(new));
        let mut all = [of_base.clone(), of_new.clone()].concat();
        all.sort();
        all.dedup();
        // A side without that test has no figures of it to be compared.
        let differ = all.len() > 1 && !of_base.is_empty() && !of_new.is_empty();
        differ.then_some(Difference {
            condition: condition.name,
            matters: condition.matters,
            base: of_base,
            new: of_new,
        })
    };
    CONDITIONS.iter().filter_map(difference).collect()
}

/// What a run of a series must share with the others: every condition that matters, with its value.
#[must_use]
pub(crate) fn setting(provenance: &Value) -> Vec<(&'static str, String)> {
    let matters = CONDITIONS.iter().filter(|condition| condition.matters);
    matters.filter_map(|condition| Some((condition.name, value(provenance, condition)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(accelerator: &str, revision: &str) -> Value {
        json!({"vm": {"accelerator": {"effective": accelerator}}, "tool": {"git_revision": revision},
            "latency": {"loop": "closed"}, "bandwidth": null})
    }

    #[test]
    fn what_differs_is_named_with_both_sides_and_its_weight() {
        let (a, b) = (run("tcg", "abc"), run("kvm", "def"));
        let found = differences(&[&a, &a], &[&b]);
        let sentences: Vec<_> = found.iter().map(|d| (d.matters, d.sentence())).collect();
        assert_eq!(
            sentences,
            [
                (true, "accelerator (base tcg, new kvm)".to_owned()),
                (false, "git revision (base abc, new def)".into())
            ]
        );
        assert_eq!(differences(&[&a], &[&a]), []);
    }

    #[test]
    fn a_side_that_is_not_alike_in_itself_differs() {
        let (a, b) = (run("tcg", "abc"), run("kvm", "abc"));
        assert_eq!(differences(&[&a, &b], &[&a])[0].sentence(), "accelerator (base kvm and tcg, new tcg)");
    }

    #[test]
    fn a_test_that_one_side_lacks_is_no_difference_and_a_missing_value_is_one() {
        let latency = run("tcg", "abc");
        let mut both = latency.clone();
        both["bandwidth"] = json!({"verify": "sha256"});
        assert_eq!(differences(&[&latency], &[&both]), []);
        let mut native = latency.clone();
        native["vm"] = Value::Null;
        assert_eq!(
            differences(&[&latency], &[&native])[0].sentence(),
            "accelerator (base tcg, new none recorded)"
        );
        assert_ne!(setting(&latency), setting(&native));
    }
}
