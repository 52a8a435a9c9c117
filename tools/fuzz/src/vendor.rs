//! What mutations of vendors' messages start from: frames as the protocols have them.

use crate::corpus::Inputs;

const TIME: &str = "2026-01-05T15:51:45.335689322Z";

fn bytes<T: AsRef<[u8]>>(frames: impl IntoIterator<Item = T>) -> Inputs {
    Ok(frames.into_iter().map(|frame| frame.as_ref().to_vec()).collect())
}

/// Frames of Alpaca's stream: steps of the session, and every kind that is used.
///
/// # Errors
/// Never: it has the form of the other corpora.
pub fn alpaca() -> Inputs {
    bytes([
        r#"[{"T":"success","msg":"connected"}]"#.to_owned(),
        r#"[{"T":"success","msg":"authenticated"}]"#.to_owned(),
        r#"[{"T":"subscription","trades":["ALFA"],"quotes":["ALFA","BETA"],"statuses":[]}]"#.to_owned(),
        r#"[{"T":"error","code":406,"msg":"connection limit exceeded"}]"#.to_owned(),
        format!(r#"[{{"T":"q","S":"ALFA","bx":"U","bp":87.66,"bs":1,"ax":"Q","ap":87.68,"as":4,"t":"{TIME}"}}]"#),
        format!(r#"[{{"T":"t","i":96921,"S":"BETA","x":"D","p":126.5512345,"s":1.5,"t":"{TIME}","c":["@"]}}]"#),
        format!(r#"[{{"T":"c","S":"BETA","oi":96921,"t":"{TIME}"}},{{"T":"x","S":"BETA","i":1,"t":"{TIME}"}}]"#),
        format!(r#"[{{"T":"s","S":"ALFA","sc":"P","rc":"LUDP","t":"{TIME}"}},{{"T":"b","S":"ALFA"}}]"#),
    ])
}

/// Frames of Massive's stream.
///
/// # Errors
/// Never: it has the form of the other corpora.
pub fn massive() -> Inputs {
    bytes([
        r#"[{"ev":"status","status":"connected","message":"ok"}]"#,
        r#"[{"ev":"status","status":"auth_success"}]"#,
        r#"[{"ev":"status","status":"auth_failed"}]"#,
        r#"[{"ev":"T","sym":"ALFA","i":"12","p":114.125,"s":100,"ds":"100.25","t":1767628305000,"q":3}]"#,
        r#"[{"ev":"Q","sym":"BETA","bp":1.1e1,"bs":100,"ap":11.2,"as":160,"t":1767628305001},{"ev":"AM"}]"#,
    ])
}

/// A stream of TWS: the session's steps and every message that is used, one after the other.
///
/// # Errors
/// Never: it has the form of the other corpora.
pub fn ib() -> Inputs {
    let messages = [
        "151|20260105 09:00:00 EST",
        "15|1|DU1",
        "9|1|1",
        "1|6|0|1|10.25|3|1",
        "2|6|1|3|400",
        "46|6|0|48|10.2601;2;1767628305000;500;10.1;true",
        "45|6|1|49|1.0",
        "12|1|1048576|0|0|1|10.25|3",
        "13|1|1048577|0|MAKER|0|0|10.28|2|1",
        "4|2|1048576|317|reset",
    ];
    let frame = |message: &str| {
        let payload = format!("{message}|").replace('|', "\0");
        let len = u32::try_from(payload.len()).unwrap_or(0);
        [&len.to_be_bytes()[..], payload.as_bytes()].concat()
    };
    let whole: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
    let head: Vec<u8> = messages.iter().take(5).flat_map(|message| frame(message)).collect();
    bytes([whole, head])
}
