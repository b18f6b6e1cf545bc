//! The JSON Schema of the configuration file, for editors, made from the table of settings.

use serde_json::{Map, Value, json};

use super::keys;
use super::table::{self, AUTH, Form, LIMIT, POOL, ROUTE, Scope, Setting, TOP};

/// The schema, in JSON.
pub fn text() -> String {
    let text = serde_json::to_string_pretty(&schema());
    text.map_or_else(|error| error.to_string(), |text| text + "\n")
}

fn schema() -> Value {
    let mut top = of_scope(TOP);
    let pool = of_scope(POOL);
    if let Value::Object(properties) = &mut top["properties"] {
        for (name, one) in [("pool", pool), ("auth", of_scope(AUTH)), ("limit", of_scope(LIMIT))] {
            let named = json!({ "type": "object", "additionalProperties": one });
            properties.insert(name.into(), named);
        }
        let route = of_scope(ROUTE);
        let routes = json!({ "oneOf": [route, { "type": "array", "items": route }] });
        properties.insert("route".into(), routes);
    }
    top["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    top["title"] = json!("tidegate");
    top
}

/// The table of a scope: every key that it may have, and no other.
fn of_scope(scope: Scope) -> Value {
    let mut properties = Map::new();
    for setting in table::settings_of(scope).filter(|one| !keys::is_outside(scope, one.name)) {
        for key in keys::keys_of_scope(scope, setting.name) {
            put(&mut properties, scope, setting, key);
        }
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// Puts in what may stand at a key.
fn put(
    properties: &mut Map<String, Value>,
    scope: Scope,
    setting: &'static Setting,
    key: &'static str,
) {
    match key.split_once('.') {
        // A switch that is a table as well.
        None if keys::is_table(scope, key) && setting.form == Form::Switch => {
            if let Value::Array(forms) = &mut table_in(properties, key)["anyOf"] {
                forms.push(of_setting(setting));
            }
        }
        None => drop(properties.insert(key.to_owned(), of_setting(setting))),
        Some((table, key)) => {
            let place = table_in(properties, table);
            if keys::main_key(scope, table).is_some_and(|main| main.name == setting.name)
                && let Value::Array(forms) = &mut place["anyOf"]
            {
                // A table's own name, given a text, fills its main key.
                forms.push(of_setting(setting));
            }
            place["anyOf"][0]["properties"][key] = of_setting(setting);
        }
    }
}

/// The table of this name, which is made if there is none.
fn table_in<'p>(properties: &'p mut Map<String, Value>, name: &str) -> &'p mut Value {
    let none = || json!({ "anyOf": [{ "type": "object", "properties": {}, "additionalProperties": false }] });
    properties.entry(name).or_insert_with(none)
}

fn of_setting(setting: &Setting) -> Value {
    let text = || json!({ "type": "string" });
    let one = match setting.form {
        Form::Switch => json!({ "type": ["boolean", "string", "integer"] }),
        Form::Count => {
            let (least, greatest) = setting.range;
            json!({ "type": ["integer", "string"], "minimum": least, "maximum": greatest })
        }
        Form::CountOrOff => {
            let (least, greatest) = setting.range;
            let count = json!({ "type": "integer", "minimum": least, "maximum": greatest });
            json!({ "anyOf": [count, text()] })
        }
        Form::Statuses | Form::Failures => json!({ "type": ["string", "integer"] }),
        Form::Seconds => json!({ "type": ["string", "integer"] }),
        Form::Choice(words) => json!({ "enum": words.split('|').collect::<Vec<_>>() }),
        Form::Urls => json!({ "oneOf": [text(), {
            "type": "object",
            "properties": {
                "url": text(),
                "weight": { "type": "integer", "minimum": 1, "maximum": 256 },
                "backup": { "type": "boolean" },
            },
            "required": ["url"],
            "additionalProperties": false,
        }] }),
        Form::Certificates => json!({ "oneOf": [text(), {
            "type": "object",
            "properties": { "cert": text(), "key": text(), "ocsp": text() },
            "required": ["cert"],
            "additionalProperties": false,
        }] }),
        Form::Tokens => table_or_text("secret"),
        Form::Users => table_or_text("hash"),
        Form::Names => json!({ "type": ["string", "object"] }),
        Form::Listens if setting.scope == TOP => json!({ "oneOf": [text(), {
            "type": "object",
            "properties": {
                "address": text(),
                "proxy-protocol": { "anyOf": [text(), { "type": "array", "items": text() }] },
            },
            "required": ["address"],
            "additionalProperties": false,
        }] }),
        Form::Lines | Form::Pairs | Form::Lists | Form::Claims => json!({ "anyOf": [text(), {
            "type": "object",
            "additionalProperties": { "anyOf": [
                { "type": ["string", "boolean", "number"] },
                { "type": "array", "items": text() },
            ] },
        }] }),
        Form::Shares => json!({ "anyOf": [
            text(),
            { "type": "object", "additionalProperties": { "type": ["integer", "string"] } },
            { "type": "object", "properties": { "upstream": {} }, "required": ["upstream"] },
        ] }),
        _ => text(),
    };
    let mut schema = match setting.form.takes_list() {
        true => json!({ "anyOf": [one, { "type": "array", "items": one }] }),
        false => one,
    };
    schema["description"] = json!(setting.about);
    schema
}

/// A text, or a table with a name, this key and roles.
fn table_or_text(key: &str) -> Value {
    let roles = json!({ "anyOf": [
        { "type": "string" },
        { "type": "array", "items": { "type": "string" } },
    ] });
    json!({ "oneOf": [{ "type": "string" }, {
        "type": "object",
        "properties": { "name": { "type": "string" }, key: { "type": "string" }, "role": roles },
        "required": [key],
        "additionalProperties": false,
    }] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_a_file_may_have_is_in_it() {
        let schema = schema();
        for (scope, place) in [
            (TOP, &schema),
            (POOL, &schema["properties"]["pool"]["additionalProperties"]),
            (AUTH, &schema["properties"]["auth"]["additionalProperties"]),
            (LIMIT, &schema["properties"]["limit"]["additionalProperties"]),
            (ROUTE, &schema["properties"]["route"]["oneOf"][0]),
        ] {
            for setting in
                table::settings_of(scope).filter(|one| !keys::is_outside(scope, one.name))
            {
                let key = keys::key_of_scope(scope, setting.name);
                let properties = &place["properties"];
                let found = match key.split_once('.') {
                    None if keys::is_table(scope, key) => &properties[key]["anyOf"][1],
                    None => &properties[key],
                    Some((table, key)) => &properties[table]["anyOf"][0]["properties"][key],
                };
                assert_eq!(found["description"], setting.about, "{key}");
            }
        }
    }
}
