//! Schemas of fields whose Kubernetes type has none that bounds its texts: without bounds the API server refuses the rules
//! about them as too expensive. And rules that several fields have.

use kube::core::Rule;
use schemars::{Schema, SchemaGenerator, json_schema};

/// Labels of a node or a pod. Longer than a label may be, so that the rule about them answers and not the bound.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 256},
    })
}

/// As in a container, but for `claims`: our pods have no resource claims. A quantity may be a whole number without quotes.
pub(crate) fn resources(_: &mut SchemaGenerator) -> Schema {
    let quantities = |description: &str| {
        json_schema!({
            "type": "object",
            "description": description,
            "maxProperties": 16,
            "additionalProperties": {
                "x-kubernetes-int-or-string": true,
                "maxLength": 64,
            },
        })
    };
    json_schema!({
        "type": "object",
        "properties": {
            "requests": quantities("What the scheduler keeps free for the pod, such as cpu: 20m, memory: 32Mi."),
            "limits": quantities("What the pod may use at most."),
        },
    })
}

/// As in a pod.
pub(crate) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": {
            "type": "object",
            "properties": {
                "key": {"type": "string", "maxLength": 317, "description": "Key of the taint; empty with operator Exists: every taint."},
                "operator": {"type": "string", "maxLength": 16, "description": "Exists or Equal (the default)."},
                "value": {"type": "string", "maxLength": 256, "description": "Value of the taint, with operator Equal."},
                "effect": {"type": "string", "maxLength": 32, "description": "NoSchedule, PreferNoSchedule or NoExecute; empty: all of them."},
                "tolerationSeconds": {"type": "integer", "format": "int64", "description": "With NoExecute: how long the taint is tolerated; absent: for ever."},
            },
        },
    })
}

/// Kubernetes' rule for the names of labels and annotations; `whose` begins the sentence: field, and what it names.
pub(crate) fn names(whose: &str) -> Rule {
    let sentence = format!(
        "{whose} name has letters, digits, '-', '_' and '.', at most 63, after a prefix such as example.com/ if need be"
    );
    Rule::new("self.all(name, name.size() <= 317 && name.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))")
        .message(sentence.as_str())
}

/// Labels that every object of a session has from us: another value would be overwritten.
pub(crate) fn own_labels() -> Rule {
    Rule::new("self.all(name, !name.startsWith('roomscribe.io/') && !(name in ['app.kubernetes.io/name', 'app.kubernetes.io/component', 'app.kubernetes.io/part-of', 'app.kubernetes.io/managed-by']))")
        .message("worker.podLabels: Roomscribe sets roomscribe.io/… and app.kubernetes.io/name, component, part-of and managed-by itself: remove them, or use a prefix of your own")
}

/// The same for annotations.
pub(crate) fn own_annotations() -> Rule {
    Rule::new("self.all(name, !name.startsWith('roomscribe.io/') && !(name in ['cluster-autoscaler.kubernetes.io/safe-to-evict', 'karpenter.sh/do-not-disrupt']))")
        .message("worker.podAnnotations: Roomscribe sets roomscribe.io/… itself, and what autoscalers may do follows from worker.disruption: remove the annotation, and choose Move or Never there")
}

/// `memory: 64m` is 64 thousandths of a byte, `memory: 64` is 64 bytes: no pod starts with that. 0 asks for nothing.
pub(crate) fn memory() -> Rule {
    let fits = |list: &str| {
        let quantity = format!("string(self.{list}[name])");
        format!(
            "(!has(self.{list}) || self.{list}.all(name, !(name in ['memory', 'ephemeral-storage']) || !isQuantity({quantity}) || !quantity({quantity}).isGreaterThan(quantity('0')) || !quantity({quantity}).isLessThan(quantity('1Mi'))))"
        )
    };
    Rule::new(format!("{} && {}", fits("requests"), fits("limits")).as_str())
        .message("worker.resources: memory and ephemeral-storage are at least 1Mi: 64m is 64 thousandths of a byte; write 64Mi for 64 mebibytes")
}

/// The same for the values of labels.
pub(crate) fn values(whose: &str) -> Rule {
    let sentence = format!(
        "{whose} value has letters, digits, '-', '_' and '.', at most 63, and begins and ends with a letter or digit"
    );
    Rule::new("self.all(name, self[name].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$'))")
        .message(sentence.as_str())
}
