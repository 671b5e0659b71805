//! The little language of the scenarios: expressions, predicates, reducers, aggregators, joiners.

use crate::value::{Kind, Val};
use serde_json::Value as Json;

type Opt = Option<Val>;

/// What functions of scenarios throw.
pub const BOOM: &str = "boom";

fn split(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or((name, ""))
}

/// text(x): "null" for null.
pub fn text(x: &Opt) -> String {
    x.as_ref().map_or_else(|| "null".into(), Val::text)
}

fn num(x: &Opt) -> i64 {
    x.as_ref().and_then(|v| v.text().parse().ok()).unwrap_or(0)
}

fn one(name: &str, k: &Opt, v: &Opt) -> Opt {
    let (name, x) = name.strip_prefix("k.").map_or((name, v), |rest| (rest, k));
    let (op, arg) = split(name);
    match op {
        "id" => return x.clone(),
        "str" => return x.as_ref().map(|x| Val::Text(x.text())),
        "const" => return Some(Val::Text(arg.into())),
        "null" => return None,
        "null_to" => return Some(Val::Text(x.as_ref().map_or_else(|| arg.into(), Val::text))),
        "throw_if" if x.as_ref().is_some_and(|x| x.text() == arg) => panic!("{BOOM}"),
        "throw_if" => return x.clone(),
        "kv" => return Some(Val::Text(format!("{}={}", text(k), text(x)))),
        _ => {}
    }
    let x = x.as_ref()?;
    let s = x.text();
    let n: Option<i64> = s.parse().ok();
    Some(Val::Text(match op {
        "null_if" if s == arg => return None,
        "null_if" => s,
        "upper" => s.to_uppercase(),
        "lower" => s.to_lowercase(),
        "append" => s + arg,
        "prepend" => arg.to_owned() + &s,
        "len" => s.len().to_string(),
        "prefix" => s.chars().take(arg.parse().unwrap_or(0)).collect(),
        "add" => n?.wrapping_add(arg.parse().unwrap_or(0)).to_string(),
        "to_long" => return Some(Val::Long(n?)),
        "field" => {
            let (separator, at) = arg.rsplit_once(':')?;
            s.split(separator).nth(at.parse().ok()?)?.to_owned()
        }
        "inner" | "start" | "end" => {
            let Val::Windowed(w) = x else { return None };
            match op {
                "inner" => return Some(w.key.clone()),
                "start" => w.start.to_string(),
                _ => w.end.to_string(),
            }
        }
        other => panic!("unknown expression {other}"),
    }))
}

/// The value of an expression.
pub fn eval(expr: &Json, k: &Opt, v: &Opt) -> Opt {
    match expr {
        Json::String(name) => one(name, k, v),
        Json::Array(names) => {
            names.iter().fold(v.clone(), |v, name| one(name.as_str().expect("a list of texts"), k, &v))
        }
        other => panic!("no expression: {other}"),
    }
}

/// The static type of an expression.
pub fn kind(expr: &Json, k: &Kind, v: &Kind) -> Kind {
    let last = expr.as_array().map_or(expr, |list| list.last().expect("no empty list"));
    let name = last.as_str().expect("a text");
    match (name.trim_start_matches("k."), expr.is_array()) {
        (id, false) if id == "id" || id.starts_with("throw_if:") => {
            if name.starts_with("k.") {
                k.clone()
            } else {
                v.clone()
            }
        }
        ("inner", _) => match k {
            Kind::Windowed(inner, _) => (**inner).clone(),
            _ => Kind::Text,
        },
        ("to_long", _) => Kind::Long,
        _ => Kind::Text,
    }
}

/// Whether a predicate holds.
pub fn pred(name: &str, k: &Opt, v: &Opt) -> bool {
    let (name, x) = name.strip_prefix("k.").map_or((name, v), |rest| (rest, k));
    let (op, arg) = split(name);
    match op {
        "true" => return true,
        "false" => return false,
        "throw_if" if x.as_ref().is_some_and(|x| x.text() == arg) => panic!("{BOOM}"),
        "throw_if" => return true,
        "is_null" => return x.is_none(),
        "not_null" => return x.is_some(),
        _ => {}
    }
    let Some(x) = x else { return false };
    let s = x.text();
    match op {
        "eq" => s == arg,
        "ne" => s != arg,
        "contains" => s.contains(arg),
        "starts" => s.starts_with(arg),
        "len_gt" => s.len() > arg.parse().unwrap_or(0),
        "gt" => s.parse::<i64>().is_ok_and(|n| n > arg.parse().unwrap_or(0)),
        "even" => s.parse::<i64>().is_ok_and(|n| n % 2 == 0),
        other => panic!("unknown predicate {other}"),
    }
}

/// The pieces of a flat function.
pub fn flat(name: &str, v: &Opt) -> Vec<Opt> {
    let (op, arg) = split(name);
    match (op, v) {
        ("none", _) | ("split", None) => Vec::new(),
        ("split", Some(v)) => v.text().split(arg).map(|piece| Some(Val::Text(piece.into()))).collect(),
        ("dup", v) => (0..arg.parse().unwrap_or(0))
            .map(|n: usize| v.as_ref().map(|v| Val::Text(format!("{}#{n}", v.text()))))
            .collect(),
        (other, _) => panic!("unknown flat function {other}"),
    }
}

fn like(n: i64, a: &Opt) -> Opt {
    Some(if matches!(a, Some(Val::Long(_))) { Val::Long(n) } else { Val::Text(n.to_string()) })
}

fn joined(a: &Opt, by: &str, b: &Opt) -> Opt {
    Some(Val::Text(format!("{}{by}{}", text(a), text(b))))
}

/// A reducer: so far and new.
pub fn reduce(name: &str, a: Opt, b: Opt) -> Opt {
    let (op, arg) = split(name);
    match op {
        "concat" => joined(&a, ",", &b),
        "concat_minus" => joined(&a, "-", &b),
        "first" => a,
        "last" => b,
        "sum" => like(num(&a).wrapping_add(num(&b)), &a),
        "minus" => like(num(&a).wrapping_sub(num(&b)), &a),
        "throw_on" if b.as_ref().is_some_and(|b| b.text() == arg) => panic!("{BOOM}"),
        "throw_on" => joined(&a, ",", &b),
        "null_on" => {
            if b.as_ref().is_some_and(|b| b.text() == arg) {
                None
            } else {
                joined(&a, ",", &b)
            }
        }
        "max" | "min" => match (&a, &b) {
            (_, None) => a,
            (None, _) => b,
            (Some(x), Some(y)) => {
                let order = match (x, y) {
                    (Val::Long(x), Val::Long(y)) => x.cmp(y),
                    _ => x.text().cmp(&y.text()),
                };
                let keeps = if op == "max" { order.is_ge() } else { order.is_le() };
                if keeps { a } else { b }
            }
        },
        other => panic!("unknown reducer {other}"),
    }
}

/// An aggregator: key, value, aggregate.
pub fn aggregate(name: &str, k: &Opt, v: &Opt, g: Opt) -> Opt {
    let (op, arg) = split(name);
    match op {
        "list" => joined(&g, "+", v),
        "list_sub" => joined(&g, "-", v),
        "klist" => Some(Val::Text(format!("{}+{}:{}", text(&g), text(k), text(v)))),
        "sum" => like(num(&g).wrapping_add(num(v)), &g),
        "sub" => like(num(&g).wrapping_sub(num(v)), &g),
        "count" => like(num(&g).wrapping_add(1), &g),
        "uncount" => like(num(&g).wrapping_sub(1), &g),
        "last" => v.clone(),
        "keep" => g,
        "throw_on" if v.as_ref().is_some_and(|v| v.text() == arg) => panic!("{BOOM}"),
        "throw_on" => joined(&g, "+", v),
        "null_on" => {
            if v.as_ref().is_some_and(|v| v.text() == arg) {
                None
            } else {
                joined(&g, "+", v)
            }
        }
        other => panic!("unknown aggregator {other}"),
    }
}

/// A merger of two aggregates.
pub fn merge(name: &str, a: &Opt, b: &Opt) -> Opt {
    match name {
        "concat" => joined(a, "&", b),
        "sum" => like(num(a).wrapping_add(num(b)), a),
        "null" => None,
        other => panic!("unknown merger {other}"),
    }
}

/// A joiner: key, left, right.
pub fn join(name: &str, k: &Opt, l: &Opt, r: &Opt) -> Opt {
    match split(name).0 {
        "throw_if_left" if l.as_ref().is_some_and(|l| l.text() == split(name).1) => panic!("{BOOM}"),
        "pair" | "throw_if_left" => joined(l, "|", r),
        "pair_key" => Some(Val::Text(format!("{}:{}|{}", text(k), text(l), text(r)))),
        "left" => l.as_ref().map(|l| Val::Text(l.text())),
        "right" => r.as_ref().map(|r| Val::Text(r.text())),
        "null" => None,
        "sum" => Some(Val::Text(num(l).wrapping_add(num(r)).to_string())),
        other => panic!("unknown joiner {other}"),
    }
}
