//! The stores, alone.

use std::sync::Arc;

use mqway_codec::{PacketId, PropertiesBuf, Property, QoS};
use mqway_session::client::{Change, Message, Progress};

use super::*;

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn message(text: &str) -> Arc<Message> {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::UserProperty("a", "b")).unwrap();
    let qos = QoS::ExactlyOnce;
    Arc::new(Message { qos, retain: true, properties, ..Message::new("t", text) })
}

fn accepted(ticket: u64, text: &str) -> Change {
    Change::Accepted { ticket, message: message(text) }
}

/// One of each change, and what they leave.
fn history() -> (Vec<Change>, Vec<(u64, Progress)>, Vec<PacketId>) {
    let changes = vec![
        accepted(1, "done"),
        accepted(2, "sent"),
        accepted(3, "released"),
        Change::Sent { ticket: 1, id: id(1) },
        Change::Sent { ticket: 2, id: id(0x201) },
        Change::Sent { ticket: 3, id: id(3) },
        Change::Received { id: id(7) },
        Change::Received { id: id(0x807) },
        Change::Done { ticket: 1 },
        accepted(4, "back in the queue"),
        Change::Sent { ticket: 4, id: id(4) },
        Change::Released { ticket: 3, id: id(3) },
        Change::Forgotten { id: id(7) },
        Change::Queued { ticket: 4 },
        accepted(5, "done at once"),
        Change::Done { ticket: 5 },
    ];
    let messages = vec![
        (2, Progress::Sent(id(0x201), message("sent"))),
        (3, Progress::Released(id(3))),
        (4, Progress::Queued(message("back in the queue"))),
    ];
    (changes, messages, vec![id(0x807)])
}

/// Opens a store again and again, with so many changes in each commit.
fn outlives(mut open: impl FnMut() -> Box<dyn Store>) {
    let (changes, messages, received) = history();
    for size in [1, 3, changes.len()] {
        let mut store = open();
        store.load().unwrap();
        store.keep_client_id("me").unwrap();
        for changes in changes.chunks(size) {
            store.commit(changes).unwrap();
        }
        drop(store);
        let content = open().load().unwrap();
        assert_eq!(content.client_id.as_deref(), Some("me"));
        assert_eq!(content.accepted, 5);
        assert_eq!(content.session.messages, messages);
        assert_eq!(content.session.received, received);
        let mut store = open();
        store.load().unwrap();
        let end = [2, 3, 4].map(|ticket| Change::Done { ticket });
        store.commit(&end).unwrap();
        store.commit(&[Change::Forgotten { id: id(0x807) }]).unwrap();
        drop(store);
        let content = open().load().unwrap();
        assert_eq!((content.accepted, content.session.messages.len()), (5, 0));
        assert!(content.session.received.is_empty());
    }
}

#[test]
fn what_is_committed_to_memory_is_there_for_the_next() {
    let store = MemoryStore::default();
    outlives(|| Box::new(store.clone()));
}

#[test]
fn an_outbox_belongs_to_one_client_identifier() {
    let store = MemoryStore::default();
    let outbox = Outbox::with_store(store.clone(), "").unwrap();
    assert!(outbox.client_id().starts_with("mqway"));
    assert_eq!(Outbox::with_store(store.clone(), "").unwrap().client_id(), outbox.client_id());
    let error = Outbox::with_store(store, "else").unwrap_err();
    assert!(matches!(&error, OutboxError::OtherClient { wanted, .. } if wanted == "else"), "{error}");
}

mod log {
    use std::fs;
    use std::path::PathBuf;

    use super::super::log::LogStore;
    use super::*;

    fn load(directory: &Path) -> Result<Content, OutboxError> {
        LogStore::open(directory)?.load()
    }

    fn file(directory: &Path) -> PathBuf {
        directory.join("outbox.log")
    }

    #[test]
    fn what_is_committed_to_a_directory_is_there_for_the_next() {
        let directory = tempfile::tempdir().unwrap();
        outlives(|| Box::new(LogStore::open(&directory.path().join("below/it")).unwrap()));
    }

    #[test]
    fn a_directory_is_open_once_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(directory.path(), "me").unwrap();
        let error = Outbox::open(directory.path(), "me").unwrap_err();
        assert!(matches!(error, OutboxError::InUse), "{error}");
        drop(outbox);
        Outbox::open(directory.path(), "me").unwrap();
    }

    #[test]
    fn a_directory_of_another_client_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(Outbox::open(directory.path(), "me").unwrap());
        let error = Outbox::open(directory.path(), "you").unwrap_err();
        assert_eq!(error.to_string(), r#"the outbox belongs to the client "me", not "you""#);
    }

    #[test]
    fn another_format_or_another_file_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        drop(Outbox::open(directory.path(), "me").unwrap());
        let mut bytes = fs::read(file(directory.path())).unwrap();
        bytes[11] += 1;
        for _ in 0..2 {
            fs::write(file(directory.path()), &bytes).unwrap();
            let error = Outbox::open(directory.path(), "me").unwrap_err();
            assert!(matches!(error, OutboxError::Newer { found: 2 }), "{error}");
            assert_eq!(fs::read(file(directory.path())).unwrap(), bytes);
        }
        for foreign in [&b""[..], b"mqwayob", b"something else altogether"] {
            fs::write(file(directory.path()), foreign).unwrap();
            let error = Outbox::open(directory.path(), "me").unwrap_err();
            assert!(matches!(error, OutboxError::Damaged(_)), "{error}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_or_is_a_file_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "no directory").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = Outbox::open(path, "me").unwrap_err();
            assert!(matches!(error, OutboxError::Storage(_)), "{error}");
        }
    }

    /// Two commits, with the length of the file before and after the second.
    fn two_commits(directory: &Path) -> (Vec<u8>, usize) {
        let mut store = LogStore::open(directory).unwrap();
        store.load().unwrap();
        store.keep_client_id("me").unwrap();
        store.commit(&[accepted(1, "first"), Change::Sent { ticket: 1, id: id(1) }]).unwrap();
        let before = fs::metadata(file(directory)).unwrap().len();
        store.commit(&[accepted(2, "second"), Change::Done { ticket: 1 }]).unwrap();
        (fs::read(file(directory)).unwrap(), usize::try_from(before).unwrap())
    }

    fn tickets(content: &Content) -> Vec<u64> {
        content.session.messages.iter().map(|(ticket, _)| *ticket).collect()
    }

    /// After a loss of power the end of the last write is missing, or was never written into its blocks; what was
    /// committed before is there, and what comes next is readable.
    #[test]
    fn a_torn_write_loses_the_commit_that_was_torn_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let (whole, before) = two_commits(directory.path());
        for len in before..whole.len() {
            let short = whole[..len].to_vec();
            let mut zeros = short.clone();
            zeros.resize(whole.len(), 0);
            let mut hole = whole.clone();
            hole[before..=len].fill(0);
            for torn in [short, zeros, hole] {
                if torn == whole {
                    continue;
                }
                fs::write(file(directory.path()), &torn).unwrap();
                let mut store = LogStore::open(directory.path()).unwrap();
                let content = store.load().unwrap();
                assert_eq!((tickets(&content), content.accepted), (vec![1], 1), "torn at {len}");
                store.commit(&[accepted(2, "again")]).unwrap();
                drop(store);
                assert_eq!(tickets(&load(directory.path()).unwrap()), [1, 2]);
            }
        }
    }

    #[test]
    fn damage_before_the_end_is_an_error_and_not_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let (whole, before) = two_commits(directory.path());
        for at in 0..before {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(file(directory.path()), &damaged).unwrap();
            let error = load(directory.path()).unwrap_err();
            assert!(matches!(error, OutboxError::Damaged(_) | OutboxError::Newer { .. }), "{at}: {error}");
            assert_eq!(fs::read(file(directory.path())).unwrap(), damaged);
        }
    }

    #[test]
    fn a_file_that_is_mostly_done_with_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = LogStore::open(directory.path()).unwrap();
        store.load().unwrap();
        store.keep_client_id("me").unwrap();
        let text = "x".repeat(100_000);
        store.commit(&[accepted(1, &text), Change::Received { id: id(9) }]).unwrap();
        let mut longest = 0;
        for ticket in 2..200 {
            let changes =
                [accepted(ticket, &text), Change::Sent { ticket, id: id(2) }, Change::Done { ticket }];
            store.commit(&changes).unwrap();
            longest = longest.max(fs::metadata(file(directory.path())).unwrap().len());
        }
        assert!((4_000_000..5_000_000).contains(&longest), "{longest}");
        store.commit(&[accepted(200, "last")]).unwrap();
        drop(store);
        let content = load(directory.path()).unwrap();
        assert_eq!((tickets(&content), content.accepted), (vec![1, 200], 200));
        assert_eq!((content.session.received, content.client_id.as_deref()), (vec![id(9)], Some("me")));
        // What a crash in the middle of that leaves is no matter.
        fs::write(directory.path().join("outbox.new"), "half a file").unwrap();
        assert_eq!(tickets(&load(directory.path()).unwrap()), [1, 200]);
    }

    #[test]
    fn a_disk_that_is_full_is_an_error_and_what_was_committed_stays() {
        let Some(directory) = SmallDisk::mount() else { return };
        let mut store = LogStore::open(directory.path()).unwrap();
        store.load().unwrap();
        store.keep_client_id("me").unwrap();
        let text = "x".repeat(100_000);
        let last = (1..).find(|ticket| store.commit(&[accepted(*ticket, &text)]).is_err()).unwrap();
        assert!(last > 1);
        drop(store);
        let content = load(directory.path()).unwrap();
        assert_eq!((content.accepted, content.session.messages.len()), (last - 1, last as usize - 1));
    }

    /// A file system of one megabyte, where the tests may make one.
    struct SmallDisk(tempfile::TempDir);

    impl SmallDisk {
        fn mount() -> Option<SmallDisk> {
            let directory = tempfile::tempdir().unwrap();
            let mount = std::process::Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
                .arg(directory.path())
                .stderr(std::process::Stdio::null())
                .status();
            mount.is_ok_and(|status| status.success()).then_some(SmallDisk(directory))
        }

        fn path(&self) -> &Path {
            self.0.path()
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg(self.0.path()).status();
        }
    }
}

#[test]
fn a_client_identifier_that_is_none_spoiled_a_new_outbox() {
    let directory = tempfile::tempdir().unwrap();
    for client_id in ["é".repeat(40_000), "a\0b".to_owned()] {
        let error = Outbox::open(directory.path(), &client_id).unwrap_err();
        assert!(matches!(error, OutboxError::ClientId), "{error:?}");
    }
    assert_eq!(Outbox::open(directory.path(), "me").unwrap().client_id(), "me");
}
