//! What mints tell of themselves in forms that are odd and harmless.

use serde_json::{Value, json};

/// Answers to `GET /v1/info` that were seen or may come: nothing in them should stop a sale.
#[must_use]
pub fn odd_infos() -> Vec<Value> {
    let has = json!({"supported": true});
    let can = json!({"7": has, "9": has, "12": has});
    vec![
        json!({}),
        json!({"motd": "Hello"}),
        json!({"name": null, "contact": [["email", "x"]], "nuts": can}),
        json!({"name": "x", "contact": {"email": "x"}, "nuts": can}),
        json!({"nuts": {"17": {}, "7": has, "9": has, "12": has}}),
        json!({"nuts": {"18": {"methods": [{"method": "btconchain", "unit": "sat"}]}, "7": has}}),
        json!({"Nuts": {"7": {"disabled": false}, "8": {"disabled": false}, "9": {"disabled": false}}}),
        json!({"nuts": {"15": [{"method": "bolt11", "unit": "sat", "mpp": true}], "7": has}}),
        json!({"nuts": {"4": {"methods": "bolt11"}, "5": null, "7": true, "9": "yes"}}),
        json!({"nuts": []}),
        json!({"version": 5, "time": "now", "icon_url": 3, "nuts": can, "description": {"en": "x"}}),
    ]
}
