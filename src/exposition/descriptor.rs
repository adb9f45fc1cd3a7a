//! What a metric is: its name, its kind, its labels and their values, and how many series it makes.

use prometheus::proto::MetricType;

/// A metric.
#[derive(Debug)]
pub(super) struct Descriptor {
    /// Its name, with the unit in it.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: &'static str,
    /// What it says, as scrapes and the reference page show it.
    pub(super) help: &'static str,
    /// Its labels, in the order of their names.
    pub(super) labels: &'static [Label],
    pub(super) present: Present,
    /// When it is left out all the same; empty when it never is.
    pub(super) except: &'static str,
}

/// What a value does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up, until the process or what it is counted of is new.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// A label.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) name: &'static str,
    pub(super) values: Values,
}

/// What a label's value can be.
#[derive(Debug)]
pub(super) enum Values {
    /// Each of these words.
    Words(fn() -> Vec<&'static str>),
    /// One of these words at a time.
    OneOf(fn() -> Vec<&'static str>),
    /// The name of a model that is there.
    Model,
    /// The name of a model in the prediction log, one of the thousand with the most predictions.
    LoggedModel,
    /// The name of a model that is there, or `none`.
    ModelOrNone,
    /// The version of the model beside it, one that is there.
    Version,
    /// What a registry calls the model's version, or `none`.
    Stage,
    /// The name of an actor that is there.
    Actor,
    /// One value for as long as the process lives.
    Constant(&'static str),
}

/// Which servers have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Present {
    /// All.
    Always,
    /// Those that serve models: role `both` or `inference`.
    Inference,
    /// Those with a prediction log: role `both` or `logging`, or `inference` with a sink.
    Logging,
    /// The logging service: role `both` or `logging`.
    LoggingService,
    /// Those whose predictions go to a sink.
    Sink,
}

/// Metrics that belong together.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) title: &'static str,
    pub(super) metrics: &'static [&'static Descriptor],
}

/// Declares metrics, and the subject that has all of them: none can be exposed without being
/// described.
macro_rules! subject {
    ($title:literal; $($metric:ident = $descriptor:expr;)*) => {
        $(static $metric: $crate::exposition::descriptor::Descriptor = $descriptor;)*
        pub(super) static SUBJECT: $crate::exposition::descriptor::Subject =
            $crate::exposition::descriptor::Subject { title: $title, metrics: &[$(&$metric),*] };
    };
}
pub(super) use subject;

// === impl Descriptor ===

impl Descriptor {
    /// Describes a metric without labels that every server has.
    pub(super) const fn new(name: &'static str, kind: Kind, unit: &'static str) -> Self {
        Self {
            name,
            kind,
            unit,
            help: "",
            labels: &[],
            present: Present::Always,
            except: "",
        }
    }

    /// Says what it says.
    pub(super) const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    /// Gives it labels, in the order of their names.
    pub(super) const fn labels(mut self, labels: &'static [Label]) -> Self {
        self.labels = labels;
        self
    }

    /// Says which servers have it.
    pub(super) const fn of(mut self, present: Present) -> Self {
        self.present = present;
        self
    }

    /// Says when it is left out.
    pub(super) const fn except(mut self, when: &'static str) -> Self {
        self.except = when;
        self
    }

    /// Returns the names that an expression can use.
    pub(super) fn series(&self) -> Vec<String> {
        let suffixes: &[&str] = match self.kind {
            Kind::Counter | Kind::Gauge => &[""],
            Kind::Histogram => &["_bucket", "_count", "_sum"],
        };
        let named = |suffix: &&str| format!("{}{suffix}", self.name);
        suffixes.iter().map(named).collect()
    }
}

// === impl Kind ===

impl Kind {
    /// Returns the word for it in both text formats.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl From<Kind> for MetricType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::COUNTER,
            Kind::Gauge => Self::GAUGE,
            Kind::Histogram => Self::HISTOGRAM,
        }
    }
}

// === impl Label ===

impl Label {
    /// A label that has each of these words.
    pub(super) const fn words(name: &'static str, words: fn() -> Vec<&'static str>) -> Self {
        Self {
            name,
            values: Values::Words(words),
        }
    }

    /// A label with the name of a model.
    pub(super) const fn model() -> Self {
        Self {
            name: "model",
            values: Values::Model,
        }
    }

    /// A label with the version of a model.
    pub(super) const fn version() -> Self {
        Self {
            name: "version",
            values: Values::Version,
        }
    }

    /// A label with the name of an actor.
    pub(super) const fn actor() -> Self {
        Self {
            name: "actor",
            values: Values::Actor,
        }
    }
}
