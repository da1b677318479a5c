//! Quotas on connections: how many are open, how fast new ones come (facts, section 2).

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// How many connections a cluster takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Open connections.
    pub connections: usize,
    /// New connections for each second, once the burst is used up.
    pub connect_rate: f64,
    /// New connections at once.
    pub connect_burst: f64,
}

impl Default for Quotas {
    /// 10,000 open, 100 new for each second with bursts of 1,000.
    fn default() -> Self {
        Self {
            connections: 10_000,
            connect_rate: 100.0,
            connect_burst: 1000.0,
        }
    }
}

/// Which quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaError {
    /// Too many open connections (53300).
    Connections,
    /// New connections come too fast (53400).
    Rate,
}

/// The quotas and what is used of them: a token bucket.
#[derive(Debug)]
pub struct Quota {
    quotas: Quotas,
    tokens: f64,
    filled: Option<SystemTime>,
}

impl Default for Quota {
    fn default() -> Self {
        Self::new(Quotas::default())
    }
}

impl Quota {
    /// Nothing is used yet.
    #[must_use]
    pub fn new(quotas: Quotas) -> Self {
        Self {
            quotas,
            tokens: quotas.connect_burst,
            filled: None,
        }
    }

    /// The quotas.
    #[must_use]
    pub fn quotas(&self) -> Quotas {
        self.quotas
    }

    /// Counts one connect at `now`, with `open` connections there already.
    ///
    /// # Errors
    /// The quota that is used up.
    pub fn admit(&mut self, now: SystemTime, open: usize) -> Result<(), QuotaError> {
        // A clock set back adds nothing.
        let since = self
            .filled
            .and_then(|filled| now.duration_since(filled).ok());
        let gained = since.map_or(0.0, |since| since.as_secs_f64() * self.quotas.connect_rate);
        self.tokens = (self.tokens + gained).min(self.quotas.connect_burst);
        self.filled = Some(now);
        if self.tokens < 1.0 {
            return Err(QuotaError::Rate);
        }
        self.tokens -= 1.0;
        if open >= self.quotas.connections {
            return Err(QuotaError::Connections);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_then_the_rate() {
        let start = SystemTime::UNIX_EPOCH;
        let mut quota = Quota::default();
        for _ in 0..1000 {
            assert_eq!(quota.admit(start, 0), Ok(()));
        }
        assert_eq!(quota.admit(start, 0), Err(QuotaError::Rate));
        let later = start + Duration::from_secs(1);
        for _ in 0..100 {
            assert_eq!(quota.admit(later, 0), Ok(()));
        }
        assert_eq!(quota.admit(later, 0), Err(QuotaError::Rate));
        assert_eq!(quota.admit(start, 0), Err(QuotaError::Rate));
        assert_eq!(quota.admit(later + Duration::from_secs(60), 9_999), Ok(()));
        let full = quota.admit(later + Duration::from_secs(60), 10_000);
        assert_eq!(full, Err(QuotaError::Connections));
    }
}
