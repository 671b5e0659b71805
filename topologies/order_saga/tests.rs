use super::*;
use crate::testing::Driven;
use serde_json::{Value, json};

const TIMEOUT_S: u64 = 300;

fn text(commands: Vec<(Value, Value)>) -> Vec<String> {
    let undo = |command: &Value| if command["undo"] == json!(true) { "undo " } else { "" };
    commands.iter().map(|(_, c)| format!("{}{}", undo(c), c["step"].as_str().unwrap())).collect()
}

fn order(driven: &mut Driven) -> Vec<String> {
    text(driven.pipe(0, json!("o1"), json!({"customer": "ann", "sku": "pen", "cents": 900})))
}

fn reply(driven: &mut Driven, step: &str, undo: bool, ok: bool) -> Vec<String> {
    let reason = (!ok).then_some("no");
    text(driven.pipe(1, json!("o1"), json!({"step": step, "undo": undo, "ok": ok, "reason": reason})))
}

fn statuses(driven: &mut Driven) -> Vec<Value> {
    driven.read(1).into_iter().map(|(_, status)| status).collect()
}

#[test]
fn an_order_goes_through_all_steps() {
    let mut driven = Driven::new(&ENTRY);
    assert_eq!(order(&mut driven), ["reserve"]);
    assert_eq!(order(&mut driven), [""; 0], "the order comes again");
    assert_eq!(reply(&mut driven, "reserve", false, true), ["pay"]);
    assert_eq!(reply(&mut driven, "reserve", false, true), [""; 0], "the reply comes again");
    assert_eq!(reply(&mut driven, "pay", false, true), ["ship"]);
    assert_eq!(reply(&mut driven, "ship", false, true), [""; 0]);
    assert_eq!(statuses(&mut driven), [json!({"status": "created"}), json!({"status": "confirmed"})]);
}

/// A failure at every step, and a crash after every record: what was done is undone in reverse.
#[test]
fn a_failed_step_undoes_those_before_it() {
    let steps = ["reserve", "pay", "ship"];
    for failing in 0..3 {
        let mut driven = Driven::new(&ENTRY);
        order(&mut driven);
        for (at, step) in steps.iter().enumerate().take(failing) {
            driven.driver.crash().unwrap();
            assert_eq!(reply(&mut driven, step, false, true), [steps[at + 1]]);
        }
        let mut commands = reply(&mut driven, steps[failing], false, false);
        for step in steps[..failing].iter().rev() {
            assert_eq!(commands, [format!("undo {step}")]);
            driven.driver.crash().unwrap();
            commands = reply(&mut driven, step, true, true);
        }
        assert_eq!(commands, [""; 0]);
        assert_eq!(statuses(&mut driven)[1..], [json!({"status": "cancelled", "reason": "no"})], "{failing}");
    }
}

/// A time-out at every step: the step itself is undone too, and its late reply changes nothing.
#[test]
fn a_step_without_a_reply_is_undone_too() {
    let steps = ["reserve", "pay", "ship"];
    for silent in 0..3 {
        let mut driven = Driven::new(&ENTRY);
        order(&mut driven);
        for step in &steps[..silent] {
            reply(&mut driven, step, false, true);
        }
        driven.advance(TIMEOUT_S - 5);
        assert_eq!(text(driven.read(0)), [""; 0]);
        driven.advance(10);
        assert_eq!(text(driven.read(0)), [format!("undo {}", steps[silent])]);
        assert_eq!(reply(&mut driven, steps[silent], false, true), [""; 0], "too late");
        assert_eq!(reply(&mut driven, steps[silent], true, false), [""; 0], "undoing fails");
        driven.advance(TIMEOUT_S + 5);
        assert_eq!(text(driven.read(0)), [format!("undo {}", steps[silent])], "and is commanded again");
        for step in steps[..=silent].iter().rev() {
            reply(&mut driven, step, true, true);
        }
        let reason = format!("{} timed out", ["Reserve", "Pay", "Ship"][silent]);
        assert_eq!(statuses(&mut driven)[1..], [json!({"status": "cancelled", "reason": reason})]);
    }
}

#[test]
fn what_has_ended_is_forgotten_in_time() {
    let mut driven = Driven::new(&ENTRY);
    order(&mut driven);
    reply(&mut driven, "reserve", false, false);
    driven.advance(86_000);
    assert_eq!(driven.driver.rows("sagas").unwrap().len(), 1);
    driven.advance(500);
    assert_eq!(driven.driver.rows("sagas").unwrap().len(), 0);
}
