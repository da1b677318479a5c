//! Which tenant a session is, once for all: by the user's entry, by the token or the certificate that
//! it logged in with.

use crate::auth::{Binding, Identity};
use crate::policy::tenancy::Policy;
use crate::policy::tenancy::rules::{CertificateName, Source, TenantRules};
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

/// Why a session has no tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// Nobody names one.
    Nameless,
    /// What is named is no tenant's name.
    Malformed,
    /// Two name different ones.
    Disagreement,
    /// The user may be several tenants, and says not which, or one that he is not.
    Choice,
}

impl Unresolved {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Nameless => "no source names a tenant",
            Self::Malformed => "what is named cannot be a tenant's name",
            Self::Disagreement => "two sources name different tenants",
            Self::Choice => "it asks for a tenant that it may not be, or for none of several",
        }
    }

    pub(super) fn error(self) -> ClientError {
        let refuse = |message| ClientError::fatal(sqlstate::INVALID_AUTHORIZATION, message);
        match self {
            Self::Nameless | Self::Malformed | Self::Disagreement => {
                refuse("the user has no tenant in this database")
                    .hint("Ask the operator of the proxy for one.")
            }
            Self::Choice => refuse("the user is not the tenant that is asked for").hint(
                "Name one of the user's tenants in the connection string: \
                 options='-c dsqlproxy.tenant=NAME'.",
            ),
        }
    }
}

/// For a user of all tenants who asks for one.
pub(super) fn not_the_one() -> ClientError {
    Unresolved::Choice.error()
}

/// The one tenant that all sources which answer name. What the client asks for chooses among the
/// tenants that it has proved to be, and proves nothing.
pub(super) fn resolve(identity: &Identity, policy: &Policy) -> Result<String, Unresolved> {
    let rules = &policy.tenant;
    let mut named: Vec<&str> = Vec::new();
    match identity.binding() {
        Binding::Tenant(name) => named.push(name),
        Binding::OneOf(names) => {
            let asked = identity.selected().ok_or(Unresolved::Choice)?;
            let own = names.iter().find(|name| *name == asked);
            named.push(own.ok_or(Unresolved::Choice)?);
        }
        Binding::Unsaid => {}
        Binding::Unrestricted => return Err(Unresolved::Nameless),
    }
    for source in &rules.resolve {
        let (answer, asked) = match source {
            Source::UserMap => {
                let mapped = rules.user_map.get(identity.user());
                (mapped.map(String::as_str), false)
            }
            Source::Jwt => (claimed(identity, rules), is_claimed(identity, rules)),
            Source::Certificate => (certified(identity, rules), identity.certificate().is_some()),
        };
        // A token or certificate that names nobody is not a reason to believe the others.
        if asked && answer.is_none() {
            return Err(Unresolved::Nameless);
        }
        named.extend(answer);
    }
    let name = *named.first().ok_or(Unresolved::Nameless)?;
    if named.iter().any(|other| *other != name) {
        return Err(Unresolved::Disagreement);
    }
    if identity.selected().is_some_and(|asked| asked != name) {
        return Err(Unresolved::Choice);
    }
    match policy.tenant_named(name) {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => Err(Unresolved::Malformed),
    }
}

/// The login was by a token that the policy asks for a claim.
fn is_claimed(identity: &Identity, rules: &TenantRules) -> bool {
    let issuer = rules.jwt.as_ref().map(|rule| rule.issuer.as_str());
    identity
        .claims()
        .is_some_and(|claims| Some(claims.issuer()) == issuer)
}

fn claimed<'i>(identity: &'i Identity, rules: &TenantRules) -> Option<&'i str> {
    let rule = rules.jwt.as_ref()?;
    let claims = identity.claims()?;
    (claims.issuer() == rule.issuer).then(|| claims.get(&rule.claim))?
}

fn certified<'i>(identity: &'i Identity, rules: &TenantRules) -> Option<&'i str> {
    let subject = identity.certificate()?;
    match rules.certificate? {
        CertificateName::CommonName => subject.common_name(),
        CertificateName::Dns => subject.dns_name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Claims, Subject};

    const POLICY: &str = "
version: 1
search_path: [public]
tables: {public.orders: {}}
tenant:
  type: text
  resolve: [user_map, jwt, certificate]
  user_map: {mapped: acme}
  jwt: {issuer: idp, claim: tenant_id}
  certificate: common_name
";

    fn resolved(
        user: &str,
        binding: Binding,
        claims: Option<Claims>,
        subject: Option<Subject>,
        asked: Option<&str>,
    ) -> Result<String, Unresolved> {
        let identity = Identity::assume(user, "app", false, 0);
        let policy = Policy::parse(POLICY).unwrap();
        let identity = identity.assume_tenant(binding, claims, subject, asked);
        resolve(&identity, &policy)
    }

    #[test]
    fn all_that_answer_must_agree() {
        use Unresolved::{Disagreement, Malformed, Nameless};
        let claim = |value: &str| Some(Claims::assume("idp", "tenant_id", value));
        let bears = |name: &str| Some(Subject::assume(Some(name), &[]));
        let own = || Binding::Tenant("acme".to_owned());
        let unsaid = || Binding::Unsaid;
        let acme = || Ok("acme".to_owned());
        let cases = [
            ("u", own(), None, None, acme()),
            ("mapped", unsaid(), None, None, acme()),
            ("u", unsaid(), claim("acme"), None, acme()),
            ("u", unsaid(), None, bears("acme"), acme()),
            ("mapped", own(), claim("acme"), bears("acme"), acme()),
            ("u", unsaid(), None, None, Err(Nameless)),
            (
                "mapped",
                Binding::Unrestricted,
                claim("acme"),
                None,
                Err(Nameless),
            ),
            // Another issuer's word, another claim, several names.
            (
                "u",
                unsaid(),
                Some(Claims::assume("else", "tenant_id", "acme")),
                None,
                Err(Nameless),
            ),
            (
                "u",
                unsaid(),
                Some(Claims::assume("idp", "other", "acme")),
                None,
                Err(Nameless),
            ),
            (
                "u",
                unsaid(),
                None,
                Some(Subject::assume(None, &["acme"])),
                Err(Nameless),
            ),
            ("u", unsaid(), claim("*"), None, Err(Malformed)),
            ("u", unsaid(), None, bears(""), Err(Malformed)),
            // Silence of what was shown is no consent.
            (
                "u",
                own(),
                Some(Claims::assume("idp", "other", "acme")),
                None,
                Err(Nameless),
            ),
            (
                "mapped",
                unsaid(),
                None,
                Some(Subject::assume(None, &["acme"])),
                Err(Nameless),
            ),
            ("u", own(), claim("globex"), None, Err(Disagreement)),
            ("mapped", unsaid(), claim("globex"), None, Err(Disagreement)),
            (
                "u",
                unsaid(),
                claim("acme"),
                bears("globex"),
                Err(Disagreement),
            ),
        ];
        for (number, (user, binding, claims, subject, expected)) in cases.into_iter().enumerate() {
            let found = resolved(user, binding, claims, subject, None);
            assert_eq!(found, expected, "case {number}");
        }
    }

    #[test]
    fn a_client_chooses_among_what_it_is() {
        let several = || Binding::OneOf(vec!["acme".to_owned(), "globex".to_owned()]);
        let own = || Binding::Tenant("acme".to_owned());
        let claim = |value: &str| Some(Claims::assume("idp", "tenant_id", value));
        let cases = [
            (several(), None, Some("globex"), Some("globex")),
            (several(), None, Some("initech"), None),
            (several(), None, Some(""), None),
            (several(), None, None, None),
            (several(), claim("globex"), Some("globex"), Some("globex")),
            (several(), claim("acme"), Some("globex"), None),
            (own(), None, Some("acme"), Some("acme")),
            (own(), None, Some("globex"), None),
            (Binding::Unsaid, claim("acme"), Some("acme"), Some("acme")),
            (Binding::Unsaid, claim("acme"), Some("globex"), None),
            (Binding::Unsaid, None, Some("acme"), None),
        ];
        for (number, (binding, claims, asked, expected)) in cases.into_iter().enumerate() {
            let found = resolved("u", binding, claims, None, asked);
            assert_eq!(found.ok().as_deref(), expected, "case {number}");
        }
    }
}
