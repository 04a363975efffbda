//! The numbered statements of MQTT 5.0 and 3.1.1 in `norms/`, held against the citations in the sources: each is obeyed
//! by some code and proven by some test, or there is a written reason why it does not apply, or it is on the list of
//! what is still to be done, which only gets shorter. `make norms` prints the table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::{all_rust_files, files, read, report, root, shown, tests_begin};

/// How many numbered statements each specification has. A list that loses a line must not go unnoticed.
const STATEMENTS: [(Specification, usize); 2] = [(Specification::V5, 251), (Specification::V3_1_1, 141)];

const NOT_APPLICABLE: &str = "norms/not-applicable.toml";
const PENDING: &str = "norms/pending.toml";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Specification {
    V3_1_1,
    V5,
}

/// What a citation names.
type Number = (Specification, String);

/// A line of one of the lists.
struct Statement {
    number: Number,
    role: String,
    words: String,
    /// The statement of 5.0 whose citations count for this one of 3.1.1: one line of code obeys both.
    same_as: Option<Number>,
}

/// Where the statement was found in the sources, as `file:line`.
#[derive(Default)]
struct Found {
    obeyed: Vec<String>,
    proven: Vec<String>,
}

/// What stands beside the citations: statements by the reason or the task that they are grouped under.
type Groups = BTreeMap<Number, String>;

#[test]
fn the_lists_are_whole() {
    let mut offences = Vec::new();
    for (specification, count) in STATEMENTS {
        let list = statements(specification);
        let numbers: BTreeSet<_> = list.iter().map(|statement| &statement.number).collect();
        if numbers.len() != count || list.len() != count {
            offences.push(format!("{}: {} statements, not {count}", specification.list(), numbers.len()));
        }
    }
    let known = known();
    for statement in all_statements() {
        if let Some(other) = statement.same_as.filter(|other| !known.contains(other)) {
            offences.push(format!("{}: {} does not exist", statement.number.0.list(), written(&other)));
        }
    }
    report(&offences);
}

#[test]
fn every_citation_names_a_statement() {
    let known = known();
    let mut offences = Vec::new();
    for file in all_rust_files().into_iter().chain(files(&root(), "md")) {
        if is_this_test(&file) {
            continue;
        }
        for (index, line) in read(&file).lines().enumerate() {
            let place = format!("{}:{}", shown(&file), index + 1);
            for number in cited(line).into_iter().filter(|number| !known.contains(number)) {
                offences.push(format!("{place}: no {}", written(&number)));
            }
            // These would be taken for statements of 5.0, and some exist there too.
            if line.contains("] of 3.1.1") || line.contains("3.1.1 [MQTT-") || line.contains("] to [MQTT-") {
                offences.push(format!("{place}: cite as CONTRIBUTING.md says"));
            }
        }
    }
    report(&offences);
}

#[test]
fn every_statement_is_obeyed_and_proven_or_its_absence_explained() {
    let found = citations();
    let (not_applicable, pending) = (groups(NOT_APPLICABLE), groups(PENDING));
    let known = known();
    let mut offences = Vec::new();
    for (list, groups) in [(NOT_APPLICABLE, &not_applicable), (PENDING, &pending)] {
        for number in groups.keys().filter(|number| !known.contains(number)) {
            offences.push(format!("{list}: no {}", written(number)));
        }
    }
    for statement in all_statements() {
        let number = &statement.number;
        let lists: Vec<_> = [(NOT_APPLICABLE, &not_applicable), (PENDING, &pending)]
            .into_iter()
            .filter_map(|(list, groups)| groups.contains_key(number).then_some(list))
            .collect();
        let shown = format!("{} ({})", written(number), statement.words);
        if let Some(other) = &statement.same_as {
            offences.extend(lists.iter().map(|list| {
                format!("{list}: {shown} counts as {} of 5.0: only that one can be listed", written(other))
            }));
            continue;
        }
        let (obeyed, proven) = found
            .get(number)
            .map_or((false, false), |found| (!found.obeyed.is_empty(), !found.proven.is_empty()));
        match (&lists[..], obeyed && proven) {
            ([], true) | ([_], false) => {}
            ([list], true) => {
                offences.push(format!("{list}: {shown} is cited by code and by a test: take it out"));
            }
            ([], false) => {
                let missing = match (obeyed, proven) {
                    (true, _) => "no test cites",
                    (_, true) => "no code cites",
                    _ => "neither code nor a test cites",
                };
                offences.push(format!("{missing} {shown}; if it does not apply, {NOT_APPLICABLE} says why"));
            }
            (_, _) => offences.push(format!("{shown} is both in {NOT_APPLICABLE} and in {PENDING}")),
        }
    }
    report(&offences);
}

/// Never fails; `make norms` shows what it prints.
#[test]
fn table() {
    let found = citations();
    let (not_applicable, pending) = (groups(NOT_APPLICABLE), groups(PENDING));
    let mut table = String::new();
    for (specification, count) in STATEMENTS {
        let (mut excused, mut owed) = (0, 0);
        for statement in statements(specification) {
            let number = statement.same_as.as_ref().unwrap_or(&statement.number);
            let Statement { role, words, .. } = &statement;
            let _ = writeln!(table, "{} {role}: {words}", written(&statement.number));
            if statement.same_as.is_some() {
                let _ = writeln!(table, "    as {}", written(number));
            }
            if let Some(reason) = not_applicable.get(number) {
                excused += 1;
                let _ = writeln!(table, "    does not apply: {reason}");
            }
            if let Some(task) = pending.get(number) {
                owed += 1;
                let _ = writeln!(table, "    to be done: {task}");
            }
            let Some(Found { obeyed, proven }) = found.get(number) else { continue };
            for (what, places) in [("obeyed", obeyed), ("proven", proven)] {
                let _ = places.iter().try_for_each(|place| writeln!(table, "    {what}: {place}"));
            }
        }
        let done = count - excused - owed;
        let _ = writeln!(
            table,
            "\n{} of MQTT {}: {done} obeyed and proven, {excused} do not apply, {owed} to be done\n",
            count,
            specification.name()
        );
    }
    println!("{table}");
}

#[test]
fn citations_are_read_as_contributing_says() {
    let read = |line: &str| cited(line).iter().map(written).collect::<Vec<_>>();
    assert_eq!(read("// [MQTT-3.3.4-7], and [MQTT-3.3.4-8]"), ["[MQTT-3.3.4-7]", "[MQTT-3.3.4-8]"]);
    let both = "x(); // [MQTT-1.5.4-1]; 3.1.1: [MQTT-1.5.3-1], [MQTT-3-8.3-4]";
    assert_eq!(read(both), ["[MQTT-1.5.4-1]", "3.1.1: [MQTT-1.5.3-1]", "3.1.1: [MQTT-3-8.3-4]"]);
    assert!(read("// RFC 6455 §5.2, MQTT-1 and [`MQTT`]").is_empty());
    assert!(all_statements().len() > 300);
    assert!(citations().len() > 100);
}

impl Specification {
    fn name(self) -> &'static str {
        match self {
            Specification::V5 => "5.0",
            Specification::V3_1_1 => "3.1.1",
        }
    }

    fn list(self) -> String {
        format!("norms/mqtt-{}.txt", self.name())
    }
}

fn all_statements() -> Vec<Statement> {
    STATEMENTS.into_iter().flat_map(|(specification, _)| statements(specification)).collect()
}

fn known() -> BTreeSet<Number> {
    all_statements().into_iter().map(|statement| statement.number).collect()
}

/// Reads `number role: words` and `number role (5.0: number): words`.
fn statements(specification: Specification) -> Vec<Statement> {
    let list = read(&root().join(specification.list()));
    let parse = |line: &str| {
        let (number, rest) = line.split_once(' ')?;
        let (role, words) = rest.split_once(' ')?;
        let (role, same_as, words) = match words.strip_prefix("(5.0: ") {
            Some(rest) => {
                let (other, words) = rest.split_once("): ")?;
                (role, Some((Specification::V5, other.to_owned())), words)
            }
            None => (role.strip_suffix(':')?, None, words),
        };
        let known_role = ["client", "server", "both", "sender", "receiver"].contains(&role);
        let number = (specification, number.to_owned());
        known_role.then(|| Statement { number, role: role.to_owned(), words: words.to_owned(), same_as })
    };
    list.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| parse(line).unwrap_or_else(|| panic!("{}: not understood: {line}", specification.list())))
        .collect()
}

/// Reads the groups of one of the two lists beside the citations.
fn groups(list: &str) -> Groups {
    let parsed: toml::Table =
        read(&root().join(list)).parse().unwrap_or_else(|error| panic!("{list}: {error}"));
    let mut groups = Groups::new();
    for group in parsed.get("group").and_then(toml::Value::as_array).into_iter().flatten() {
        let why = group["why"].as_str().unwrap_or_else(|| panic!("{list}: a group without `why`"));
        for (specification, _) in STATEMENTS {
            let numbers = group.get(specification.name()).and_then(toml::Value::as_array);
            for number in numbers.into_iter().flatten() {
                let number = number.as_str().unwrap_or_else(|| panic!("{list}: numbers are strings"));
                let twice = groups.insert((specification, number.to_owned()), why.to_owned());
                assert!(twice.is_none(), "{list}: {number} stands there twice");
            }
        }
    }
    groups
}

/// Everything that the sources cite. Code is what stands in `src` outside of tests; what only measures, shows or
/// fuzzes neither obeys nor proves.
fn citations() -> BTreeMap<Number, Found> {
    let mut found = BTreeMap::<Number, Found>::new();
    for file in all_rust_files() {
        let place = shown(&file);
        if is_this_test(&file) || !place.starts_with("crates/") {
            continue;
        }
        let within = |folder: &str| place.split('/').any(|part| part == folder);
        if within("benches") || within("examples") {
            continue;
        }
        let code = read(&file);
        let only_tests = within("tests") || within("tests.rs");
        let code_ends = if only_tests { 0 } else { tests_begin(&code) };
        for (index, line) in code.lines().enumerate() {
            for number in cited(line) {
                let found = found.entry(number).or_default();
                let places = if index < code_ends { &mut found.obeyed } else { &mut found.proven };
                places.push(format!("{place}:{}", index + 1));
            }
        }
    }
    found
}

/// The statements that a line names: of 5.0, and of 3.1.1 behind `3.1.1:`.
fn cited(line: &str) -> Vec<Number> {
    let older_from = line.find("3.1.1: [").unwrap_or(line.len());
    let mut numbers = Vec::new();
    for (at, mark) in line.match_indices("[MQTT-") {
        let rest = &line[at + mark.len()..];
        let Some((number, _)) = rest.split_once(']') else { continue };
        let specification = if at > older_from { Specification::V3_1_1 } else { Specification::V5 };
        numbers.push((specification, number.to_owned()));
    }
    numbers
}

fn written((specification, number): &Number) -> String {
    match specification {
        Specification::V5 => format!("[MQTT-{number}]"),
        Specification::V3_1_1 => format!("3.1.1: [MQTT-{number}]"),
    }
}

/// This test talks about citations without making any.
fn is_this_test(file: &Path) -> bool {
    file.ends_with("crates/mqway/tests/tidy/norms.rs")
}
