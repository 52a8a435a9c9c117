use super::*;

const SHIPPED: &str = include_str!("../../../../configs/vendor.toml");

fn parse(text: &str) -> Result<Settings, SettingsError> {
    Settings::parse(text, Path::new("folder/vendor.toml"))
}

#[test]
fn the_shipped_configuration_is_sound() {
    let settings = parse(SHIPPED).unwrap();
    assert_eq!(settings.vendor, VendorKind::Alpaca { has_statuses: true });
    assert_eq!(settings.names, ["ASGV", "BDZK"]);
    assert_eq!(settings.desk.stale_after, Nanos::from_secs(30));
    assert_eq!(settings.credentials.key_variable, "PEREGRINE_VENDOR_KEY");
}

#[test]
fn every_key_is_mandatory_and_every_other_one_unknown() {
    let (mut section, mut key_count) = (String::new(), 0);
    for line in SHIPPED.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if line.starts_with('[') {
            line.split(['[', ']']).find(|name| !name.is_empty()).unwrap().clone_into(&mut section);
        } else if section != "symbol" {
            let error = parse(&SHIPPED.replacen(&format!("{line}\n"), "", 1)).unwrap_err().to_string();
            let key = line.split(' ').next().unwrap();
            assert!(error.contains("missing field") && error.contains(key), "{line}: {error}");
            key_count += 1;
        }
    }
    assert_eq!(key_count, 34, "every key of the sections");
    let error = parse(&SHIPPED.replace("ttl = 0", "ttl = 0\nttl_max = 1")).unwrap_err().to_string();
    assert!(error.contains("ttl_max") && error.contains("line"), "{error}");
}

#[test]
fn what_cannot_be_is_said_all_at_once_and_an_address_is_not_repeated() {
    let text = SHIPPED
        .replace("ws://127.0.0.1:30090/", "ws://vendor.invalid/?key=HIDDEN")
        .replace("backoff_first_ms = 500", "backoff_first_ms = 70_000")
        .replace("VENDOR0001", "VENDOR")
        .replace("America/New_York", "Nowhere")
        .replace("message_count_max = 4_000_000", "message_count_max = 8_000")
        .replace("BDZK", "ASGV")
        .replace("PEREGRINE_VENDOR_SECRET", "");
    let error = parse(&text).unwrap_err().to_string();
    for part in [
        "vendor.address",
        "wss://",
        "connection.backoff_first_ms",
        "feed.session",
        "feed.zone",
        "feed.message_count_max",
        "symbol[1].name",
        "credentials.secret_variable",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("HIDDEN"), "{error}");
}

#[test]
fn a_vendor_has_its_own_section_and_no_other() {
    let massive = SHIPPED.replace("kind = \"alpaca\"", "kind = \"massive\"");
    assert!(parse(&massive).unwrap_err().to_string().contains("[alpaca] is given"));
    let without =
        massive.replace("[alpaca]", "[[symbol]]\nname = \"CCCC\"\nround_lot = 1\n#").replace("statuses = true", "#");
    assert_eq!(parse(&without).unwrap().vendor, VendorKind::Massive);
    let ib = SHIPPED.replace("kind = \"alpaca\"", "kind = \"ib\"").replace("ws://127.0.0.1:30090/", "127.0.0.1:4002");
    let error = parse(&ib).unwrap_err().to_string();
    assert!(error.contains("[ib] is missing") && error.contains("[alpaca] is given"), "{error}");
    let (before, behind) = ib.split_once("[alpaca]").unwrap();
    let (_, behind) = behind.split_once("# [ib]").unwrap();
    let (ib_keys, behind) = behind.split_once("[credentials]").unwrap();
    let ib = format!("{before}[ib] {}[credentials]{behind}", ib_keys.replace("\n# ", "\n"));
    let settings = parse(&ib).unwrap();
    let VendorKind::Ib(config) = settings.vendor else { unreachable!() };
    assert_eq!((config.client_id, config.depth_row_count, config.exchange.as_str()), (7, 0, "SMART"));
}
