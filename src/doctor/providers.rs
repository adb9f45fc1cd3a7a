//! The runtime's library and its execution providers.

use impetus_engine::Provider;
use impetus_engine::runtime::onnx::Probed;

use super::{Finding, State, Subject};
use crate::config::{RuntimeConfig, SearchPlaces, resolve_runtime_library};
use crate::serve::providers;

/// Whether this build loads Core ML models.
const CORE_ML: bool = cfg!(all(feature = "coreml", target_os = "macos"));

pub(super) fn runtime(subject: &Subject<'_>) -> Vec<Finding> {
    let config = subject.config();
    if !config.role.infers() {
        return vec![Finding::new(
            "ONNX Runtime",
            State::Absent,
            "not needed: the role is logging",
        )];
    }
    let RuntimeConfig {
        library: stated, ..
    } = &config.runtime;
    let library = match resolve_runtime_library(stated, &SearchPlaces::usual()) {
        Ok(library) => library,
        Err(missing) => {
            return vec![
                Finding::new("ONNX Runtime", State::Failed, missing.to_string()).advise(
                    "fetch it with scripts/fetch-onnxruntime.sh, or set library in [runtime]",
                ),
            ];
        }
    };
    let wanted = providers(config);
    let shown = library.display();
    let cpu = subject
        .prober
        .probe(&library, Provider::Cpu, &wanted.options);
    let has = match &cpu {
        Ok(Probed {
            library: Ok(_),
            has,
            ..
        }) => has.clone(),
        Ok(Probed {
            library: Err(error),
            ..
        })
        | Err(error) => {
            return vec![
                Finding::new("ONNX Runtime", State::Failed, format!("{shown}: {error}")).advise(
                    "set library in [runtime] to ONNX Runtime 1.24 or newer for this machine",
                ),
            ];
        }
    };
    let version = cpu
        .as_ref()
        .ok()
        .and_then(|Probed { library, .. }| library.as_ref().ok());
    let version = version.map_or("", |info| info.version.as_str());
    let mut findings = vec![Finding::new(
        "ONNX Runtime",
        State::Ok,
        format!("{version}, {shown}"),
    )];
    let tried = Provider::ALL.into_iter().map(|provider| {
        let usable = match provider {
            _ if !has.contains(&provider) => Err(format!(
                "not in this library; {} has it",
                provider.found_in()
            )),
            Provider::Cpu => of(&cpu),
            other => of(&subject.prober.probe(&library, other, &wanted.options)),
        };
        (provider, usable)
    });
    let tried: Vec<(Provider, Result<(), String>)> = tried.collect();
    findings.extend(judge(&wanted.order, &tried));
    findings.push(match CORE_ML {
        true => Finding::new("Core ML models", State::Ok, "in this build"),
        false => Finding::new(
            "Core ML models",
            State::Absent,
            "this build has no Core ML: it needs macOS and the feature coreml",
        ),
    });
    findings
}

fn of(probed: &Result<Probed, String>) -> Result<(), String> {
    match probed {
        Ok(probed) => probed.usable.clone(),
        Err(error) => Err(error.clone()),
    }
}

/// Judges each provider by the order of the configuration: the first that is usable runs models, one
/// before it is passed over, and where none is usable every one that is wanted has failed.
fn judge(order: &[Provider], tried: &[(Provider, Result<(), String>)]) -> Vec<Finding> {
    let usable = |one: &Provider| tried.iter().any(|(p, usable)| p == one && usable.is_ok());
    let chosen = order.iter().copied().find(usable);
    let judged = tried.iter().map(|(provider, usable)| {
        let check = format!("provider {provider}");
        let wanted = order.contains(provider);
        match usable {
            Ok(()) if Some(*provider) == chosen => {
                Finding::new(check, State::Ok, "usable, and runs models")
            }
            Ok(()) => Finding::new(check, State::Ok, "usable"),
            Err(reason) if !wanted => Finding::new(check, State::Absent, reason),
            Err(reason) => {
                let state = match chosen {
                    Some(_) => State::Warning,
                    None => State::Failed,
                };
                let instead = match chosen {
                    Some(chosen) => format!("models run on {chosen} instead"),
                    None => "no model can be loaded".to_owned(),
                };
                Finding::new(check, state, reason).advise(format!(
                    "{instead}: make it usable, or take it out of runtime.providers"
                ))
            }
        }
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(order: &[Provider], usable: &[Provider]) -> Vec<(Provider, State)> {
        let tried: Vec<_> = [Provider::Cpu, Provider::Cuda, Provider::OpenVino]
            .into_iter()
            .map(|one| {
                let found = usable.contains(&one).then_some(());
                (one, found.ok_or_else(|| "its driver is gone".to_owned()))
            })
            .collect();
        let findings = judge(order, &tried);
        let judged = tried.iter().zip(findings);
        judged
            .map(|((one, _), finding)| (*one, finding.state))
            .collect()
    }

    #[test]
    fn a_wanted_provider_is_a_failure_only_where_no_other_that_is_wanted_can_be_used() {
        use Provider::{Cpu, Cuda, OpenVino};
        assert_eq!(
            states(&[Cuda, Cpu], &[Cpu]),
            [
                (Cpu, State::Ok),
                (Cuda, State::Warning),
                (OpenVino, State::Absent)
            ]
        );
        assert_eq!(
            states(&[Cuda], &[Cpu, OpenVino]),
            [
                (Cpu, State::Ok),
                (Cuda, State::Failed),
                (OpenVino, State::Ok)
            ]
        );
    }
}
