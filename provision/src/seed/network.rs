//! The guest's network: the fixed addresses of QEMU's user-mode network, so that nothing waits for an answer of
//! DHCP, of router advertisements or of IPv6 link-local probing.

use serde_json::{Value, json};

/// Network configuration, version 2, for the card with address `mac`.
///
/// The card is found by its address: names differ with kernel command line and machine type. It is not marked
/// optional: it is up as soon as it exists, and what follows `network-online` can then rely on it.
pub(super) fn config(mac: &str) -> Value {
    json!({
        "version": 2,
        "ethernets": {
            "nic0": {
                "match": { "macaddress": mac.to_ascii_lowercase() },
                "addresses": ["10.0.2.15/24"],
                "routes": [{ "to": "0.0.0.0/0", "via": "10.0.2.2" }],
                "nameservers": { "addresses": ["10.0.2.3"] },
                "dhcp4": false,
                "dhcp6": false,
                "accept-ra": false,
                "link-local": [],
            }
        }
    })
}
