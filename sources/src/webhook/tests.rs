use super::*;

/// As a real MLflow 3.17.2 sent it, with the secret `s3cret`.
const BODY: &str = r#"{"entity": "model_version_alias", "action": "created", "timestamp": "2026-12-01T16:38:57.740494+00:00", "data": {"name": "surface", "alias": "champion", "version": "3"}}"#;
const GOLDEN: Headers<'_> = Headers {
    signature: Some("v1,+bNL8+4HEqMX8so593E6vEexMBMCFhBqpdFgcCcQOVg="),
    timestamp: Some("1796143137"),
    delivery_id: Some("cfe1219d-0224-4643-bd7f-6fd721ea20a8"),
};
const SENT: u64 = 1_796_143_137;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Signs as MLflow does.
fn signature(secret: &str, id: &str, timestamp: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

/// Sends a delivery that is right.
fn send(verifier: &WebhookVerifier, id: &str, sent: u64, now: u64) -> Result<Delivery, Refusal> {
    let headers = Headers {
        signature: Some(&signature("s3cret", id, sent, BODY)),
        timestamp: Some(&sent.to_string()),
        delivery_id: Some(id),
    };
    verifier.verify(headers, BODY.as_bytes(), at(now))
}

#[test]
fn what_mlflow_signs_is_accepted() {
    let verifier = WebhookVerifier::new(&["s3cret"]);
    let delivery = verifier
        .verify(GOLDEN, BODY.as_bytes(), at(SENT + 1))
        .unwrap();
    let event = Event {
        entity: "model_version_alias".to_owned(),
        action: "created".to_owned(),
        model: Some("surface".to_owned()),
        version: Some(3),
        alias: Some("champion".to_owned()),
    };
    assert_eq!((delivery.sent, delivery.event), (SENT, event));

    // Made by `_generate_hmac_signature` of MLflow 3.17.2: texts beyond ASCII count by their UTF-8.
    let body = r#"{"entity": "registered_model", "action": "renamed", "data": {"name": "newö"}}"#;
    let headers = Headers {
        signature: Some("v1,ut4YK+7aiIiEORHuqSI51LgSMzWLXc3OQtSAI2xewN8="),
        timestamp: Some("1796143140"),
        delivery_id: Some("d-2"),
    };
    let verifier = WebhookVerifier::new(&["nächster schlüssel"]);
    let delivery = verifier.verify(headers, body.as_bytes(), at(SENT)).unwrap();
    assert_eq!(delivery.event.model.as_deref(), Some("newö"));
}

#[test]
fn what_is_not_signed_with_the_secret_is_refused() {
    let verifier = WebhookVerifier::new(&["s3cret"]);
    let now = at(SENT);
    let judge = |headers, body: &str| verifier.verify(headers, body.as_bytes(), now);
    let another = BODY.replace("champion", "chbmpion");
    assert_eq!(judge(GOLDEN, &another), Err(Refusal::WrongSignature));
    let later = Headers {
        timestamp: Some("1796143138"),
        ..GOLDEN
    };
    assert_eq!(judge(later, BODY), Err(Refusal::WrongSignature));
    let again = Headers {
        delivery_id: Some("cfe1219d-0224-4643-bd7f-6fd721ea20a9"),
        ..GOLDEN
    };
    assert_eq!(judge(again, BODY), Err(Refusal::WrongSignature));
    for secrets in [&["other"][..], &[""], &[]] {
        let verifier = WebhookVerifier::new(secrets);
        let refused = verifier.verify(GOLDEN, BODY.as_bytes(), now);
        assert_eq!(refused, Err(Refusal::WrongSignature), "{secrets:?}");
    }
    // Nothing of this was remembered.
    assert!(judge(GOLDEN, BODY).is_ok());
}

#[test]
fn what_lacks_the_form_is_refused() {
    let verifier = WebhookVerifier::new(&["s3cret"]);
    let judge = |headers| {
        verifier
            .verify(headers, BODY.as_bytes(), at(SENT))
            .unwrap_err()
    };
    for (headers, name) in [
        (
            Headers {
                signature: None,
                ..GOLDEN
            },
            "X-MLflow-Signature",
        ),
        (
            Headers {
                timestamp: None,
                ..GOLDEN
            },
            "X-MLflow-Timestamp",
        ),
        (
            Headers {
                delivery_id: None,
                ..GOLDEN
            },
            "X-MLflow-Delivery-Id",
        ),
    ] {
        assert_eq!(judge(headers), Refusal::Missing(name));
    }
    for timestamp in [
        "",
        "-1",
        "+1796143137",
        "1796143137.0",
        "99999999999999999999",
        "now",
    ] {
        let timestamp = Some(timestamp);
        let refusal = judge(Headers {
            timestamp,
            ..GOLDEN
        });
        let malformed = Refusal::Malformed("the header X-MLflow-Timestamp");
        assert_eq!(refusal, malformed, "{timestamp:?}");
    }
    let many = GOLDEN.signature.unwrap().replace('b', "c") + " ";
    let (many, long) = (many.repeat(9), "x".repeat(129));
    for signature in ["", "v1,", "v1,====", "v2,AAAA", "v1,AAAA", &many] {
        let signature = Some(signature);
        let refusal = judge(Headers {
            signature,
            ..GOLDEN
        });
        assert_eq!(
            refusal,
            Refusal::Malformed("the header X-MLflow-Signature"),
            "{signature:?}"
        );
    }
    for id in ["", &long] {
        let refusal = judge(Headers {
            delivery_id: Some(id),
            ..GOLDEN
        });
        assert_eq!(
            refusal,
            Refusal::Malformed("the header X-MLflow-Delivery-Id")
        );
    }
    let signed = signature("s3cret", "d", SENT, "no JSON");
    let headers = Headers {
        signature: Some(&signed),
        delivery_id: Some("d"),
        ..GOLDEN
    };
    let refusal = verifier.verify(headers, b"no JSON", at(SENT)).unwrap_err();
    assert_eq!(refusal, Refusal::Malformed("the body"));
}

#[test]
fn one_secret_is_replaced_by_another_without_a_gap() {
    let old = signature("old", "d", SENT, BODY);
    let new = signature("new", "d", SENT, BODY);
    let both = format!("{} {new}", signature("wrong", "d", SENT, BODY));
    let later = format!("v2,whatever {new},");
    for header in [&old, &new, &both, &later] {
        let verifier = WebhookVerifier::new(&["old", "new"]);
        let headers = Headers {
            signature: Some(header),
            delivery_id: Some("d"),
            ..GOLDEN
        };
        assert!(
            verifier.verify(headers, BODY.as_bytes(), at(SENT)).is_ok(),
            "{header}"
        );
    }
}

#[test]
fn only_what_is_sent_now_is_accepted() {
    let verifier = WebhookVerifier::new(&["s3cret"]);
    for (now, is_now) in [(-301, false), (-300, true), (300, true), (301, false)] {
        let id = format!("d{now}");
        let sent = send(&verifier, &id, SENT, SENT.saturating_add_signed(now));
        match is_now {
            true => assert!(sent.is_ok(), "{now}: {sent:?}"),
            false => assert_eq!(sent, Err(Refusal::Stale(301)), "{now}"),
        }
    }
}

#[test]
fn a_delivery_is_accepted_once() {
    let verifier = WebhookVerifier::new(&["s3cret"]);
    // From a clock that is ahead: it may be repeated for as long as it is accepted at all.
    send(&verifier, "d", SENT + 300, SENT).unwrap();
    for now in [SENT, SENT + 299, SENT + 600] {
        assert_eq!(
            send(&verifier, "d", SENT + 300, now),
            Err(Refusal::Replayed)
        );
    }
    assert_eq!(
        send(&verifier, "d", SENT + 300, SENT + 601),
        Err(Refusal::Stale(301))
    );

    // One about which nothing could be done comes again.
    let delivery = send(&verifier, "e", SENT, SENT).unwrap();
    assert_eq!(send(&verifier, "e", SENT, SENT + 1), Err(Refusal::Replayed));
    verifier.forget(&delivery);
    assert_eq!(send(&verifier, "e", SENT, SENT + 1), Ok(delivery));
}

#[test]
fn the_memory_is_bounded_and_empties_with_time() {
    let verifier = WebhookVerifier::new(&["s3cret"]);
    for number in 0..MEMORY {
        send(&verifier, &format!("d{number}"), SENT, SENT).unwrap();
    }
    assert_eq!(
        send(&verifier, "one more", SENT, SENT),
        Err(Refusal::TooMany)
    );
    assert_eq!(send(&verifier, "d0", SENT, SENT), Err(Refusal::Replayed));
    assert!(send(&verifier, "one more", SENT + 301, SENT + 301).is_ok());
    assert_eq!(
        format!("{verifier:?}"),
        "WebhookVerifier(1 secrets, 1 deliveries)"
    );
}

#[test]
fn an_event_that_is_not_known_is_about_everything() {
    let read = |text: &str| Event::read(text.as_bytes()).unwrap();
    let unknown = read(r#"{"entity":"comet","action":"seen","data":[1]}"#);
    assert!(unknown.may_concern("surface") && unknown.model.is_none());
    assert!(read("{}").may_concern("surface"));
    let named = read(
        r#"{"entity":"model_version","action":"created","data":{"name":"surface","version":"4"}}"#,
    );
    assert!(named.may_concern("surface") && !named.may_concern("other"));
    assert_eq!(named.version, Some(4));
    let prompt = read(r#"{"entity":"prompt_alias","action":"created","data":{"name":"surface"}}"#);
    assert!(!prompt.may_concern("surface"));
}
