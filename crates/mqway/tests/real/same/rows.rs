//! Invocations of mosquitto's tools, each also run with the program's name replaced. `sub` and `pub` stand for either
//! name. Words in capitals are filled in: HOST, PORT, TLSPORT, SOCKET, CA, CERT, KEY, FILE; where none of them says where
//! the server is, `-h HOST -p PORT` is added.

/// One invocation.
pub struct Row {
    /// The command line, for a shell.
    pub line: &'static str,
    /// The exit statuses of mosquitto's tool and of mqway.
    pub status: (i32, i32),
    /// Run before, with mosquitto's tools.
    pub before: &'static [&'static str],
    /// Run with mosquitto's tools as soon as this one is subscribed.
    pub meanwhile: &'static [&'static str],
}

const fn done(line: &'static str) -> Row {
    Row { line, status: (0, 0), before: &[], meanwhile: &[] }
}

const fn after(before: &'static [&'static str], line: &'static str) -> Row {
    Row { line, status: (0, 0), before, meanwhile: &[] }
}

const fn among(line: &'static str, meanwhile: &'static [&'static str]) -> Row {
    Row { line, status: (0, 0), before: &[], meanwhile }
}

const fn ends(line: &'static str, mosquitto: i32, mqway: i32) -> Row {
    Row { line, status: (mosquitto, mqway), before: &[], meanwhile: &[] }
}

/// What arrives of these is compared, too: a subscriber to `out/#` sees it.
pub const PUBLISH: &[Row] = &[
    done("pub -h HOST -p PORT -t out/a -m hello"),
    done("pub -t out/a -m hello -q 1"),
    done("pub -t out/a -m hello -q 2"),
    done("pub -t out/a -m -5"),
    done("pub -t out/a -m ''"),
    done("pub -t out/a -n"),
    done("pub -t out/a -m kept -r"),
    done("pub -t out/a -n -r"),
    done("pub -t out/a -f FILE"),
    done("printf 'a\\nb\\r\\n' | pub -t out/a -s"),
    done("printf 'a\\n\\nb\\r\\nc' | pub -t out/a -l"),
    done("seq 15 | pub -t out/a -l -q 2"),
    done("seq 500 | pub -t out/a -l -q 1 -M 7"),
    done("pub -t out/a -l < /dev/null"),
    done("pub -t out/a -m again --repeat 3"),
    done("pub -t out/a -m again --repeat 2 --repeat-delay 0.1 -q 1"),
    done("pub -t out/a -m x -i an-id -k 30"),
    done("pub -t out/a -m x -I a-prefix-"),
    done("pub -t out/a -m x -u name -P secret"),
    done("pub -t out/a -m x -c -i an-id"),
    done("pub -t out/a -m x -V 5 -c -x 60 -i an-id"),
    done("pub -t out/a -m x -V mqttv31"),
    done("pub -t out/a -m x -V mqttv311"),
    done("pub -t out/a -m x -V mqttv5"),
    done("pub -t out/a -m x --quiet --nodelay"),
    done("pub -t out/a -m x --will-topic out/will --will-payload gone --will-qos 1 --will-retain"),
    done("pub -L mqtt://name:secret@HOST:PORT/out/from/url -m x"),
    done("pub --unix SOCKET -t out/a -m x"),
    done("pub -h HOST -p TLSPORT --cafile CA -t out/a -m x"),
    done("pub -h HOST -p TLSPORT --cafile CA --cert CERT --key KEY -t out/a -m x"),
    done("pub -h HOST -p TLSPORT --cafile CA --insecure --tls-alpn mqtt -t out/a -m x"),
    done("pub -L mqtts://HOST:TLSPORT/out/a --cafile CA -m x"),
    done("pub -t out/a -m x -D publish content-type text/plain -D publish user-property a 'b c'"),
    done("pub -t out/a -m x -D publish response-topic r -D publish correlation-data c"),
    done("pub -t out/a -m x -D PUBLISH payload-format-indicator 1 -D PUBLISH message-expiry-interval 90"),
    done("pub -t out/a -m x -D connect user-property a b -D disconnect user-property c d"),
    done("pub -t out/a -m x --will-topic w -D will content-type text/plain -D will will-delay-interval 5"),
    done("pub --topic out/a --message x --qos 1 --retain --host HOST --port PORT --id an-id --keepalive 20"),
];

const KEPT: &[&str] =
    &["pub -t r/1 -m one -r", "pub -t r/2 -m two -r", "printf 'a\\000b\\377' | pub -t r/3 -s -r"];
const RICH: &[&str] = &[
    "pub -t r/rich -r -m '{\"a\": [1, \"b\"]}' -D publish content-type application/json -D publish user-property k v -D publish user-property k2 v2 -D publish response-topic re/ply -D publish correlation-data data -D publish payload-format-indicator 1",
];

/// What these print is compared.
pub const SUBSCRIBE: &[Row] = &[
    after(KEPT, "sub -h HOST -p PORT -t r/1 -C 1"),
    after(KEPT, "sub -t r/1 -C 1 -v"),
    after(KEPT, "sub -t r/1 -t r/2 -C 2 -v"),
    after(KEPT, "sub -t r/1 -C 1 -N"),
    after(KEPT, "sub -t r/3 -C 1 -N"),
    after(KEPT, "sub -t 'r/#' -T r/1 -T r/3 -C 1 -v"),
    after(KEPT, "sub -t r/1 -C 1 -F '%t %p %q %r %l %m %x %X %%'"),
    after(KEPT, "sub -t r/1 -C 1 -F '[%10t][%-10t][%.2t][%5.2t][%05l][%-5l][%010p][%5m]'"),
    after(KEPT, "sub -t r/1 -C 1 -F '\\\\\\0\\a\\e\\n\\r\\t\\v@@ @Y-@m-@d @H' -N"),
    after(KEPT, "sub -t r/1 -C 1 -F '%j'"),
    after(KEPT, "sub -t r/1 -C 1 -F '%j' --pretty"),
    after(RICH, "sub -t r/rich -C 1 -V 5 -F '%C|%D|%F|%P|%R|%S|%A|[%10C][%-10R]'"),
    after(RICH, "sub -t r/rich -C 1 -V 5 -F '%j %J'"),
    after(
        RICH,
        "sub -t r/rich -C 1 -V 5 -F '%S' -D subscribe subscription-identifier 7 -D subscribe user-property a b",
    ),
    after(KEPT, "sub -t r/1 -E"),
    after(KEPT, "sub -t r/1 -C 1 -V mqttv31"),
    after(KEPT, "sub -t r/1 -C 1 -V mqttv5 -x 10 -i an-id"),
    after(KEPT, "sub -t r/1 -C 1 -u name -P secret -k 30 -I a-prefix-"),
    after(
        KEPT,
        "sub -t r/1 -C 1 --will-topic w --will-payload gone --will-qos 2 --will-retain --quiet --nodelay",
    ),
    after(KEPT, "sub -L mqtt://HOST:PORT/r/1 -C 1"),
    after(KEPT, "sub --unix SOCKET -t r/1 -C 1"),
    after(KEPT, "sub -h HOST -p TLSPORT --cafile CA -t r/1 -C 1"),
    after(KEPT, "sub -t r/1 -C 1 -d"),
    after(
        &["sub -c -i keeper -t kept/a -q 1 -E", "pub -t kept/a -m one -q 1", "pub -t kept/a -m two -q 1"],
        "sub -c -i keeper -t kept/a -q 1 -C 2",
    ),
    after(
        &[
            "sub -c -i leaver -t left/a -t left/b -q 1 -E",
            "sub -c -i leaver -t left/b -U left/a -q 1 -E",
            "pub -t left/a -m one -q 1",
            "pub -t left/b -m two -q 1",
        ],
        "sub -c -i leaver -t left/b -q 1 -C 1 -v",
    ),
    Row {
        line: "sub -t 'gone/#' --remove-retained -T gone/2 -W 1",
        status: (27, 8),
        before: &["pub -t gone/1 -m one -r", "pub -t gone/2 -m two -r"],
        meanwhile: &[],
    },
    ends("sub -t 'gone/#' -v -W 1", 27, 8),
    among(
        "sub -t live/a -C 3 -q 2 -F '%q %p'",
        &["pub -t live/a -m 0", "pub -t live/a -m 1 -q 1", "pub -t live/a -m 2 -q 2"],
    ),
    among("sub -t live/a -C 2 -v", &["pub -t live/a -n", "pub -t live/a -m x"]),
    among("sub -t live/a -C 2", &["pub -t live/a -n", "pub -t live/a -m x"]),
    among("sub -t '$share/group/live/a' -C 1 -v", &["pub -t live/a -m x"]),
    Row { line: "sub -t r/1 -R -C 1", status: (0, 0), before: KEPT, meanwhile: &["pub -t r/1 -m one -r"] },
    Row {
        line: "sub -t r/1 -R -C 1 -V 5",
        status: (0, 0),
        before: KEPT,
        meanwhile: &["pub -t r/1 -m one -r"],
    },
    Row {
        line: "sub -t r/1 -v --retained-only",
        status: (0, 0),
        before: KEPT,
        meanwhile: &["pub -t r/1 -m new"],
    },
    Row {
        line: "sub -t r/1 -C 2 -V 5 --retain-as-published -F '%r %p'",
        status: (0, 0),
        before: KEPT,
        meanwhile: &["pub -t r/1 -m one -r"],
    },
    among(
        "sub -t live/a -C 1 -V 5 -F '%E' -q 1",
        &["pub -t live/a -m x -q 1 -D publish message-expiry-interval 100"],
    ),
    Row { line: "sub -t 'r/#' -W 1 -v -T r/3", status: (27, 8), before: KEPT, meanwhile: &[] },
    Row {
        line: "sub --topic r/1 -C 1 --verbose --host HOST --port PORT --qos 1 --filter-out r/2",
        status: (0, 0),
        before: KEPT,
        meanwhile: &[],
    },
];

/// What fails is to fail alike.
pub const FAILURES: &[Row] = &[
    ends("pub -m x", 1, 2),
    ends("pub -t a -m x -n", 1, 2),
    ends("pub -t a/# -m x", 1, 2),
    ends("pub -t a -m x -q 3", 1, 2),
    ends("pub -t a -m x -V 4", 1, 2),
    ends("pub -t a -m x --no-such-flag", 1, 2),
    ends("pub -t a -f /nowhere/at/all", 1, 2),
    ends("pub -t a -m x -P secret", 1, 2),
    ends("pub -t a -m x -c", 1, 2),
    ends("pub -t a -m x -i one -I two", 1, 2),
    ends("pub -t a -m x --will-payload gone", 1, 2),
    ends("pub -t a -m x --repeat 0", 1, 2),
    ends("pub -t a -m x -D publish content-type", 1, 2),
    ends("pub -t a -m x -D publish will-delay-interval 1", 1, 2),
    ends("pub -h HOST -p 1 -t a -m x", 1, 3),
    ends("pub -h no-such-host.invalid -t a -m x", 1, 3),
    ends("pub -h HOST -p CLOSEDPORT -t a -m x", 5, 6),
    ends("sub", 1, 2),
    ends("sub -t 'a#b'", 1, 2),
    ends("sub -t a -F %z", 1, 2),
    ends("sub -t a -C 0", 1, 2),
    ends("sub -t nothing -W 1", 27, 8),
    ends("sub -h HOST -p 1 -t a", 1, 3),
    ends("sub -h HOST -p CLOSEDPORT -t a -V 5", 135, 6),
];
