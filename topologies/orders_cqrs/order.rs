//! An order, and what may be done to it.

use serde::{Deserialize, Serialize};

/// What somebody wants of an order, the key; `id` tells commands apart.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Command {
    pub(super) id: String,
    #[serde(flatten)]
    pub(super) what: Wish,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub(super) enum Wish {
    Place { customer: String, cents: i64 },
    Pay { cents: i64 },
    Ship,
    Cancel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Placed,
    Paid,
    Shipped,
    Cancelled,
}

/// What has happened to an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Event {
    pub(super) command: String,
    pub(super) status: Status,
    pub(super) customer: String,
    pub(super) cents: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Rejection {
    pub(super) command: String,
    pub(super) reason: String,
}

/// What the write side knows of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) customer: String,
    pub(super) cents: i64,
    pub(super) status: Status,
    pub(super) answered: Vec<String>,
}

/// Customer, amount and status of the order after the command, or why it can't be.
pub(super) fn decide(order: Option<&Order>, wish: &Wish) -> Result<(String, i64, Status), &'static str> {
    use Status::{Cancelled, Paid, Placed, Shipped};
    let next = match (order.map(|o| o.status), wish) {
        (None, Wish::Place { cents, .. }) if *cents <= 0 => return Err("an order is worth more than nothing"),
        (None, Wish::Place { customer, cents }) => return Ok((customer.clone(), *cents, Placed)),
        (None, _) => return Err("there is no such order"),
        (Some(_), Wish::Place { .. }) => return Err("the order is there already"),
        (Some(Placed), Wish::Pay { cents }) if order.is_some_and(|o| o.cents != *cents) => {
            return Err("the amount is not that of the order");
        }
        (Some(Placed), Wish::Pay { .. }) => Paid,
        (Some(_), Wish::Pay { .. }) => return Err("the order is not open for payment"),
        (Some(Paid), Wish::Ship) => Shipped,
        (Some(_), Wish::Ship) => return Err("only a paid order is shipped"),
        (Some(Placed | Paid), Wish::Cancel) => Cancelled,
        (Some(_), Wish::Cancel) => return Err("the order has ended"),
    };
    order.map(|o| (o.customer.clone(), o.cents, next)).ok_or("there is no such order")
}
