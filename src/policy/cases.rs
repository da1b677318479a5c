const CASES: &[(&str, &str)] = &[("SELECT 1", "forward")];
