//! A plugin as a program with one has it: `examples/plugin.rs`, as broker and as proxy.

use crate::recorder::built;
use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::mqway;
use crate::support::process::Program;
use crate::support::{Kind, SOON, eventually};
use std::fs;
use std::process::Command;
use tempfile::TempDir;

/// A publication that was refused.
const NOT_ALLOWED: i32 = 7;

#[test]
fn a_plugin_refuses_acts_on_the_server_and_counts() {
    let mosquitto = Mosquitto::start();
    let upstream = mosquitto.url(Kind::Tcp);
    for server in [&["broker"][..], &["proxy", "--upstream", &upstream]] {
        let directory = TempDir::with_prefix("mqway-plugin-").unwrap();
        let settings = directory.path().join("quiet.toml");
        fs::write(&settings, "[plugins.quiet]\ntopics = ['alarm']\n").unwrap();
        let mut command = Command::new(built("plugin"));
        command.args(server).args(["--listen", "tcp://127.0.0.1:0", "--config"]).arg(&settings);
        let program = Program::start(command);
        let url = |lines: &[String]| {
            lines.iter().find_map(|line| line.strip_prefix("listening ").map(str::to_owned))
        };
        let url = program.stderr.wait(SOON, url).expect("it listens");

        let publish =
            |topic| mqway(&["pub", &url, "-t", topic, "-m", "ring", "-q", "1", "-V", "5"], SOON * 3);
        assert_eq!(publish("news").code, Some(0));
        let refused = publish("alarm");
        assert!(refused.code == Some(NOT_ALLOWED) && refused.stderr.contains("quiet hours"), "{refused:?}");
        if server[0] == "broker" {
            let greeted = mqway(&["sub", &url, "-t", "hello/#", "-i", "me", "-C", "1", "-v"], SOON * 3);
            assert_eq!(String::from_utf8_lossy(&greeted.stdout), "hello/me welcome\n");
        }

        program.signal("USR1");
        assert!(
            program.stderr.contain(r#""plugins":{"quiet":{"kept_quiet":1}}"#),
            "{:?}",
            program.stderr.all()
        );
        // Without its table it is not there.
        fs::write(&settings, "").unwrap();
        program.signal("HUP");
        assert!(eventually(SOON, || publish("alarm").code == Some(0)));
    }
}
