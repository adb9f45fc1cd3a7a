//! Answers that no MLflow gives, or none that a test could make it give. The others are those of real
//! servers, in `tests/mlflow.rs`.

mod fake;
mod reading;

use std::time::Duration;

use self::fake::{Answer, Fake};
use super::*;

const READY: &str = r#"{"model_version":{"name":"m","version":"7","current_stage":"None","status":"READY","run_id":""}}"#;

fn uri(text: &str) -> RegistryUri {
    match text.parse() {
        Ok(crate::Location::Registry(uri)) => uri,
        other => panic!("{text}: {other:?}"),
    }
}

fn client(url: &str) -> MlflowClient {
    let mut settings = MlflowSettings::new(url);
    settings.timeout = Duration::from_secs(1);
    settings.silence = Duration::from_secs(1);
    MlflowClient::new(settings).unwrap()
}

/// Resolves a version by something that gives this answer.
async fn resolved(answer: Answer) -> Result<ModelVersion, RegistryError> {
    let fake = Fake::start(vec![answer]).await;
    client(&fake.url).resolve(&uri("models:/m/7")).await
}

#[tokio::test]
async fn garbage_is_told_from_answers() {
    let page = Answer::of(
        "200 OK",
        "content-type: text/html\r\n",
        "<html>log in</html>",
    );
    let long = "x".repeat(17 << 20);
    for (answer, why) in [
        (page, "page for people"),
        (
            Answer::json("200 OK", "{\"model_version\": 7}"),
            "not what MLflow answers",
        ),
        (Answer::json("200 OK", "{}"), "not what MLflow answers"),
        (
            Answer::json("200 OK", "\u{1}\u{2}"),
            "not what MLflow answers",
        ),
        (Answer::json("200 OK", &long), "longer than 16 MiB"),
        (
            Answer::json("200 OK", &READY.replace("\"m\"", "\"other\"")),
            "another version",
        ),
        (
            Answer::json("200 OK", &READY.replace("\"7\"", "\"-7\"")),
            "not what MLflow answers",
        ),
        (
            Answer::of(
                "302 Found",
                "location: https://sso.example/login?secret=1\r\n",
                "",
            ),
            "to https://sso.example/login)",
        ),
        (
            Answer::of("404 Not Found", "content-type: text/html\r\n", "<html>"),
            "below this path",
        ),
    ] {
        let error = resolved(answer).await.unwrap_err();
        assert!(
            matches!(&error, RegistryError::Garbage { why: said, .. } if said.contains(why)),
            "{why}: {error:?}"
        );
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let text = "content-type: text/plain\r\n";
    let coded = |code: &str| format!("{{\"error_code\":\"{code}\",\"message\":\"so it is\"}}");
    let cases = [
        (
            Answer::of("401 Unauthorized", text, "You are not authenticated."),
            "refuses access (401)",
        ),
        (
            Answer::of("403 Forbidden", text, "no"),
            "refuses access (403)",
        ),
        (
            Answer::json("403 Forbidden", &coded("PERMISSION_DENIED")),
            "refuses access (403)",
        ),
        (
            Answer::of(
                "403 Forbidden",
                text,
                "Invalid Host header - possible DNS rebinding attack detected",
            ),
            "--allowed-hosts 127.0.0.1:",
        ),
        (
            Answer::of("502 Bad Gateway", text, "gone"),
            "a problem of its own (502): gone",
        ),
        (
            Answer::of("429 Too Many", text, "slower"),
            "a problem of its own (429): slower",
        ),
        (
            Answer::json("500 Oh", &coded("INTERNAL_ERROR")),
            "a problem of its own (500): so it is",
        ),
        (
            Answer::json("400 Bad", &coded("INVALID_PARAMETER_VALUE")),
            "does not accept the request",
        ),
        (
            Answer::json("404 None", &coded("RESOURCE_DOES_NOT_EXIST")),
            "has no models:/m/7: so it is",
        ),
        (
            Answer::json("200 OK", &READY.replace("READY", "PENDING_REGISTRATION")),
            "still being registered",
        ),
        (
            Answer::json("200 OK", &READY.replace("READY", "FAILED_REGISTRATION")),
            "could not be registered",
        ),
    ];
    for (answer, said) in cases {
        let error = resolved(answer).await.unwrap_err();
        let is_transient = ["problem of its own", "still being"]
            .iter()
            .any(|one| said.contains(one));
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert_eq!(error.is_transient(), is_transient, "{error}");
    }
    assert_eq!(
        resolved(Answer::json("200 OK", READY))
            .await
            .unwrap()
            .run_id,
        None
    );
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_not_waited_for() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"model".to_vec();
    for bytes in [Vec::new(), half.clone()] {
        let error = resolved(Answer::Silence(bytes)).await.unwrap_err();
        assert!(error.to_string().contains("in time"), "{error}");
        assert!(error.is_transient());
    }
    let error = resolved(Answer::Raw(half)).await.unwrap_err();
    assert!(error.to_string().contains("broke off"), "{error}");
    let error = resolved(Answer::Raw(Vec::new())).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Unreachable { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_registry_that_hangs_costs_a_survey_no_more_than_a_few_calls() {
    let fake = Fake::start(vec![Answer::Silence(Vec::new())]).await;
    let uris: Vec<_> = (0..12)
        .map(|number| uri(&format!("models:/m{number}@a")))
        .collect();
    let client = client(&fake.url);
    let survey = client.survey(&uris);
    let survey = tokio::time::timeout(Duration::from_millis(2500), survey)
        .await
        .unwrap();
    assert_eq!(survey.len(), 12);
    let hung =
        |told: &Result<_, RegistryError>| told.as_ref().is_err_and(RegistryError::is_transient);
    assert!(survey.values().all(hung), "{survey:?}");
}

#[tokio::test]
async fn credentials_are_sent_and_not_shown() {
    let basic = Auth::Basic {
        user: "ann".to_owned(),
        password: "s3cret".to_owned(),
    };
    let bearer = Auth::Bearer("s3cret".to_owned());
    for (auth, header) in [(basic, "basic yw5uonmzy3jlda=="), (bearer, "bearer s3cret")] {
        let fake = Fake::start(vec![Answer::json("401 No", "no")]).await;
        let mut settings = MlflowSettings::new(format!("{}/below/it/", fake.url));
        settings.auth = auth;
        let client = MlflowClient::new(settings.clone()).unwrap();
        let error = client.ping().await.unwrap_err();
        let head = &fake.heads()[0];
        let path = "get /below/it/api/2.0/mlflow/registered-models/search?max_results=1 http/1.1";
        assert!(head.starts_with(path), "{head}");
        assert!(head.contains(&format!("authorization: {header}")), "{head}");
        assert!(head.contains("user-agent: impetus/"), "{head}");
        for shown in [
            format!("{settings:?}{client:?}{error:?}"),
            error.to_string(),
        ] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }
}

#[test]
fn an_address_that_is_none_is_refused_without_repeating_it() {
    for url in [
        "",
        "registry",
        "ftp://s3cret@host",
        "https://ann:s3cret@host",
        "https://host/?token=s3cret",
    ] {
        let error = MlflowClient::new(MlflowSettings::new(url)).unwrap_err();
        assert!(
            matches!(error, RegistryError::Misconfigured { .. }),
            "{url}: {error}"
        );
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
    let mut settings = MlflowSettings::new("https://host");
    for (content, why) in [("", "none in it"), ("no", "none in it")] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        settings.ca_file = Some(file.path().to_owned());
        let error = MlflowClient::new(settings.clone()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    settings.ca_file = Some("/nowhere/ca.pem".into());
    let error = MlflowClient::new(settings).unwrap_err();
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}
