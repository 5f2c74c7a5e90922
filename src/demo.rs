//! A program that crashes in a telling way, inside of lastwords itself, so that `lastwords demo` needs no compiler.
//!
//! A shop looks up its customers by name. One of them is not there; nobody checks.

use std::hint::black_box;
use std::ptr;

/// What the shop knows of a customer.
#[repr(C)]
pub struct Customer {
    id: u32,
    credit_cents: i64,
}

static CUSTOMERS: [(&str, Customer); 2] =
    [("alice", Customer { id: 7, credit_cents: 12_50 }), ("bob", Customer { id: 9, credit_cents: 99_00 })];

/// The functions to record.
pub const FUNCTIONS: &str = "lastwords::demo::*";

/// Serves three customers and dies at the third.
pub fn run_until_death() {
    for line in ["alice 450", "bob 1999", "mallory 100"] {
        let left = serve(black_box(line));
        println!("{line}: {left} cents left");
    }
}

#[inline(never)]
fn serve(order: &str) -> i64 {
    let (name, cents) = order.split_once(' ').unwrap_or((order, "0"));
    let customer = find_customer(name);
    charge(customer, parse_cents(cents))
}

#[inline(never)]
fn parse_cents(text: &str) -> u32 {
    black_box(text.parse().unwrap_or(0))
}

#[inline(never)]
fn find_customer(name: &str) -> *const Customer {
    let found = CUSTOMERS.iter().find(|(known, _)| *known == name);
    black_box(found.map_or(ptr::null(), |(_, customer)| ptr::from_ref(customer)))
}

#[inline(never)]
fn charge(customer: *const Customer, cents: u32) -> i64 {
    // SAFETY: there is none, and that is the point: the third customer is a null pointer. A volatile read is made as it is
    // written, so that the process dies here and of nothing else.
    let customer = unsafe { customer.read_volatile() };
    println!("customer {} has {} cents", customer.id, customer.credit_cents);
    black_box(customer.credit_cents - i64::from(cents))
}
