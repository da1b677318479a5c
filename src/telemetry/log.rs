//! Log lines on standard error, as text or JSON, with a level that can change under way.

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::config::{Log, LogFormat};

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `log.level` is not a filter.
    #[error("log.level is not a level or filter")]
    Level,
    /// Something else in the process logs already.
    #[error("logging was set up before")]
    Taken,
    /// The subscriber is gone.
    #[error("logging has ended")]
    Ended,
}

/// Changes the level of a running log.
#[derive(Debug, Clone)]
pub struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogControl {
    /// Takes over another `log.level`, for all threads at once.
    ///
    /// # Errors
    /// A level that cannot be read leaves the old one in force.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        self.filter
            .reload(filter(level)?)
            .map_err(|_| LogError::Ended)
    }
}

/// Begins to log to standard error, for the whole process. Call it once.
///
/// # Errors
/// A wrong level, or a second call.
pub fn start(log: &Log) -> Result<LogControl, LogError> {
    let colour = std::io::stderr().is_terminal();
    let (subscriber, control) = subscriber(log, std::io::stderr, colour)?;
    subscriber.try_init().map_err(|_| LogError::Taken)?;
    Ok(control)
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(level)
        .map_err(|_| LogError::Level)
}

fn subscriber<W>(
    log: &Log,
    writer: W,
    colour: bool,
) -> Result<(impl Subscriber + Send + Sync + 'static, LogControl), LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, control) = reload::Layer::new(filter(&log.level)?);
    let lines = fmt::layer().with_writer(writer).with_ansi(colour);
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    Ok((subscriber, LogControl { filter: control }))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn take(&self) -> String {
            let bytes = std::mem::take(&mut *self.0.lock().expect("not poisoned"));
            String::from_utf8(bytes).expect("text")
        }
    }

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(format: LogFormat, level: &str) -> Log {
        Log {
            format,
            level: level.to_owned(),
        }
    }

    #[test]
    fn text_and_json() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let lines = Lines::default();
            let writer = lines.clone();
            let (subscriber, _control) =
                subscriber(&log(format, "info"), move || writer.clone(), false).expect("set up");
            tracing::subscriber::with_default(subscriber, || {
                tracing::info!(client = "a\nb", "connected");
                tracing::debug!("not shown");
            });
            let text = lines.take();
            assert_eq!(text.lines().count(), 1, "{text}");
            match format {
                LogFormat::Text => {
                    assert!(
                        text.contains("INFO") && text.contains("connected"),
                        "{text}"
                    );
                }
                LogFormat::Json => {
                    let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                    assert_eq!(line["message"], "connected");
                    assert_eq!(line["client"], "a\nb");
                    assert_eq!(line["level"], "INFO");
                }
            }
        }
    }

    #[test]
    fn the_level_changes_under_way() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, control) =
            subscriber(&log(LogFormat::Text, "warn"), move || writer.clone(), false)
                .expect("set up");
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("one");
            assert_eq!(lines.take(), "");
            control.set_level("info").expect("a level");
            tracing::info!("two");
            assert!(lines.take().contains("two"));
            assert!(matches!(control.set_level("="), Err(LogError::Level)));
            tracing::info!("three");
            assert!(
                lines.take().contains("three"),
                "a wrong level changes nothing"
            );
        });
    }
}
