use serde_json::Value;

/// A rollout's plan that is kept in a file of its own, TOML or JSON, as the body of a call says it.
pub fn plan_of_text(text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    let table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
    serde_json::to_value(table).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_is_toml_or_json() {
        let plan = json!({"bake": "1m", "steps": [{"share": "5%", "hold": "2m"}]});
        let toml = "bake = \"1m\"\nsteps = [{ share = \"5%\", hold = \"2m\" }]";
        assert_eq!(plan_of_text(toml), Ok(plan.clone()));
        assert_eq!(plan_of_text(&plan.to_string()), Ok(plan));
        assert!(plan_of_text("{").is_err() && plan_of_text("bake = 1m").is_err());
    }
}
