//! Compiled forms against plain ones, on random input.

mod address_blocks;
mod candidate_index;
mod match_table;
mod path_template;
mod robust;
