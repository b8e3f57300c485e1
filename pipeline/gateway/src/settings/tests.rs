use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn written(folder: &Path, text: &str) -> Result<Settings, Vec<String>> {
    for name in ["gateway.pem", "gateway.key", "authority.pem"] {
        fs::write(folder.join(name), "PEM").unwrap();
    }
    let file = folder.join("gateway.yaml");
    fs::write(&file, text).unwrap();
    load(&file).map_err(|error| match error {
        GatewayError::Config(error) => error
            .problems()
            .iter()
            .map(|problem| problem.to_string().replace(&format!("{}/", folder.display()), ""))
            .collect(),
        other => panic!("{other}"),
    })
}

const LEAST: &str = "listen: 0.0.0.0:8815\ntls: {certificate: gateway.pem, key: gateway.key, authority: authority.pem}\n\
                     landing: {folder: landing}\nstate: {folder: state}\n";

#[test]
fn what_is_left_out_has_a_default() {
    let folder = tempfile::tempdir().unwrap();
    let settings = written(folder.path(), LEAST).unwrap();
    assert_eq!(settings.listen, "0.0.0.0:8815".parse().unwrap());
    assert_eq!(settings.metrics_address, METRICS_ADDRESS);
    assert_eq!(settings.tls.key, folder.path().join("gateway.key"));
    assert!(matches!(&settings.landing, LandingSettings::Folder(path) if *path == folder.path().join("landing")));
    assert_eq!(settings.state, folder.path().join("state"));
    assert_eq!((settings.commit_interval, settings.limits), (COMMIT_INTERVAL, Limits::default()));
    assert!(settings.nodes.is_none() && !settings.accept_demo);
    assert_eq!(settings.retention, BTreeMap::from([(Table::Incident, KEEP_INCIDENTS)]));
    assert_eq!(settings.compact_after, COMPACT_AFTER);
}

#[test]
fn pc_19_everything_can_be_said_and_incidents_go_after_three_days_unless_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "hush\n").unwrap();
    fs::set_permissions(folder.path().join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let text = LEAST.replace(
        "{folder: landing}",
        "{s3: {bucket: b, prefix: p, region: r, endpoint: 'http://127.0.0.1:9000', access_key: {file: secret}, secret_key: {file: secret}}}",
    ) + "metrics: {address: '[::1]:9700'}\ncommit_interval: 250ms\nnodes: [cabinet-a, cabinet-b]\naccept_demo: true\n\
         limits: {rows_per_minute: 10, bytes_per_day: 1GiB, new_vocabularies_per_day: 5}\n\
         retention: {incident: forever, agg: 365d}\ncompaction: {after: 2h}\n";
    let settings = written(folder.path(), &text).unwrap();
    let LandingSettings::S3(s3) = &settings.landing else { panic!("{settings:?}") };
    assert_eq!((s3.bucket.as_str(), s3.access_key.expose()), ("b", "hush"));
    assert!(!format!("{settings:?}").contains("hush"));
    assert_eq!(
        settings.limits,
        Limits { rows_per_minute: 10, bytes_per_day: 1 << 30, new_vocabularies_per_day: 5 }
    );
    assert_eq!(settings.retention, BTreeMap::from([(Table::Agg, 365 * DAY)]));
    assert_eq!(settings.nodes.unwrap().into_iter().collect::<Vec<_>>(), ["cabinet-a", "cabinet-b"]);
    assert_eq!(settings.compact_after, 2 * HOUR);
    assert!(settings.accept_demo);
}

#[test]
fn all_problems_are_in_one_report() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("open"), "hush\n").unwrap();
    fs::set_permissions(folder.path().join("open"), fs::Permissions::from_mode(0o644)).unwrap();
    let text = "listen: 8815\nmetrics: {address: '0.0.0.0:9601'}\n\
                tls: {certificate: gateway.pem, key: gone.key, authority: authority.pem}\n\
                landing: {s3: {bucket: b, region: r, access_key: {file: open}, secret_key: {file: gone}}}\n\
                commit_interval: 2100ms\nnodes: [Cabinet]\nretention: {agg: never}\ncompact: 1h\n";
    let problems = written(folder.path(), text).unwrap_err();
    let begins = [
        "gateway.yaml:1:1: the key 'state' is missing",
        "gateway.yaml:1:9: listen: '8815' is not an address with a port",
        "gateway.yaml:2:20: metrics.address: 0.0.0.0 can be reached from other machines",
        "gateway.yaml:3:38: tls.key: there is no file gone.key",
        "gateway.yaml:4:57: landing.s3.access_key.file: everyone on this machine can read or change open (mode 0644)",
        "gateway.yaml:4:83: landing.s3.secret_key.file: there is no file gone",
        "gateway.yaml:5:18: commit_interval: 2100ms is out of range",
        "gateway.yaml:6:9: nodes[0]: 'Cabinet' is not a name",
        "gateway.yaml:7:18: retention.agg: 'never' is not a time",
        "gateway.yaml:8:1: compact: unknown key; did you mean 'compaction'?",
    ];
    assert_eq!(problems.len(), begins.len(), "{problems:#?}");
    for (problem, begin) in problems.iter().zip(begins) {
        assert!(problem.starts_with(begin), "{problem}\n{begin}");
    }
    assert!(!problems.join("").contains("hush"));
    let inside = LEAST.replace("state: {folder: state}", "state: {folder: landing/state}");
    let problems = written(folder.path(), &inside).unwrap_err();
    assert!(problems[0].contains("are not apart"), "{problems:?}");
    let both = LEAST.replace("{folder: landing}", "{}");
    assert!(written(folder.path(), &both).unwrap_err()[0].contains("either folder or s3 is expected"));
    assert!(written(folder.path(), "\u{FEFF}x: [").is_err());
}
