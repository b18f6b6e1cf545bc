//! End to end: the real binary, real sockets, raw octets on both sides.
//!
//! One file per chapter, in plain order from basic to complex; a case reads as a story and its name is its claim.
//! `harness` is what they stand on, and `harness_stands` shows that it does, without a proxy in between.
#![expect(
    clippy::disallowed_methods,
    reason = "from outside: the cases block, have their own clock, and their parser checks digits first"
)]

#[path = "../cases.rs"]
mod cases;
mod harness;

mod harness_stands;

mod a_basics;
mod b_headers;
mod c_strictness;
mod d_interim;
mod e_upstream_trouble;
mod f_client_trouble;
mod g_limits;
mod h_admin;
mod i_endurance;
mod j_endings;
mod k_websockets;
mod l_tungstenite;
mod m_vectors;
mod n_desync;
mod o_faults;
mod p_siege;
mod q_load;
mod r_sockets;
mod s_surface;
mod t_reload;
mod u_routes;
mod v_commands;
mod w_health;
mod x_care;
mod y_balance;
mod z_retries;
mod za_tokens;
mod zb_passwords_and_signed;
mod zc_networks;
mod zd_limits;
mod ze_requests;
mod zf_forward_auth;
mod zg_admin_tokens;
mod zh_tls;
mod zi_client_certs;
mod zj_tls_questions;
mod zk_tls_upstreams;
