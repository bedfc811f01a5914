//! Guests that misbehave: whatever one does, its stream gets the right answer, others are not harmed, and the worker
//! goes on. There is a test of the name of every guest in `tests/guests/programs`, or this does not compile.

mod allocators;
mod conformance;
mod failing;
mod forging;
mod greedy;
mod loading;
mod random;
mod streams;

use allocators::*;
use conformance::{script_abi_0_1_0, script_abi_0_2_0, script_abi_0_2_1};
use failing::*;
use forging::*;
use greedy::*;
use libtest_mimic::Trial;
use loading::*;
use random::random_hostcalls;
use streams::*;

/// The tests.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    macro_rules! required {
        ($guest:ident) => {
            trials.push(Trial::test(concat!("guests::", stringify!($guest)), || {
                $guest();
                Ok(())
            }))
        };
    }
    ::guests::for_each_guest!(required);
    trials.extend(conformance::trials());
    trials
}
