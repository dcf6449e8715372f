//! The attack checklist, case by case, and the tests that hold each: T is TLS and certificates, R is
//! revocation and policy on live connections, H is identity and routing in HTTP.
//!
//! | cases | mostly in |
//! |---|---|
//! | T1 to T10 | `access`, `identity` |
//! | T11 to T14, R9 | `revocation`, `intermediates`, `reload`, `trust`, `crl_model` |
//! | T15 to T22, T28 | `resumption` |
//! | T23, T24, T28 | `tls`, `hello` |
//! | T25, T26 | `paths`, `identity` |
//! | T27 | `flood` |
//! | T29 | `clock` |
//! | R1 to R8, R10 | `cutoff` |
//! | R11 | `upstream` |
//! | H1 to H6, H11, H12 | `headers` |
//! | H7 to H10 | `paths`, `framing`, `policy` |

use std::path::Path;

/// How many cases there are of each kind.
const KINDS: [(&str, usize); 3] = [("T", 29), ("R", 11), ("H", 12)];

/// Each case with its tests: `FILE::FUNCTION`, the file beside this one, or below `src`.
const CASES: &[(&str, &[&str])] = &[
    (
        "T1",
        &[
            "access::a_caller_without_a_certificate_is_refused",
            "access::another_clusters_certificate_is_refused",
            "access::a_certificate_of_another_authority_of_the_same_name_is_refused",
            "access::a_self_signed_certificate_is_refused",
        ],
    ),
    (
        "T2",
        &[
            "access::an_expired_certificate_is_refused",
            "access::a_certificate_that_is_not_yet_valid_is_refused",
        ],
    ),
    (
        "T3",
        &[
            "access::a_servers_certificate_is_no_callers",
            "identity::a_certificate_says_in_words_that_it_is_a_callers",
        ],
    ),
    (
        "T4",
        &[
            "access::an_authoritys_certificate_is_no_callers",
            "access::a_leaf_issues_nobody",
            "identity::an_authority_below_one_that_may_have_none_makes_nobody",
            "trust::an_issuer_that_may_not_sign_certificates_lets_nobody_in",
            "trust::an_authority_for_servers_vouches_for_no_client",
        ],
    ),
    (
        "T5",
        &[
            "identity::a_name_that_an_authority_may_not_give_is_refused",
            "identity::an_authority_vouches_only_for_the_roles_that_it_may",
            "intermediates::t5_a_role_is_bound_to_an_authority_with_a_crl_as_to_any",
        ],
    ),
    ("T6", &["identity::an_identity_in_another_kind_of_name_is_none"]),
    (
        "T7",
        &[
            "identity::an_identity_with_anything_odd_in_it_is_refused",
            "identity::an_odd_subject_breaks_neither_a_header_nor_a_line_of_the_log",
        ],
    ),
    (
        "T8",
        &[
            "access::an_identity_is_exactly_one_uri_of_this_cluster",
            "identity::an_identity_with_anything_odd_in_it_is_refused",
            "identity::flockers_form_has_one_common_name_and_one_cluster",
        ],
    ),
    ("T9", &["identity::only_the_leaf_says_who_is_calling"]),
    ("T10", &["identity::flockers_form_has_one_common_name_and_one_cluster"]),
    (
        "T11",
        &[
            "access::a_revoked_certificate_is_refused_and_another_of_its_holder_is_not",
            "revocation::t11_a_certificate_issued_again_with_the_same_key_is_another_one",
            "intermediates::t11_each_authority_revokes_its_own_callers",
            "intermediates::t11_what_a_revoked_authority_says_counts_for_nothing",
            "intermediates::r5_a_revoked_authority_takes_its_callers_along_and_no_others",
            "trust::t11_a_client_keeps_its_second_way_when_the_first_of_two_cross_certificates_is_revoked",
        ],
    ),
    (
        "T12",
        &[
            "access::a_gateway_without_a_current_crl_does_not_start",
            "revocation::t12_a_crl_that_is_not_to_be_believed_leaves_the_last_good_one_in_force",
            "revocation::t12_the_newest_of_an_issuer_counts_wherever_it_stands",
            "intermediates::t12_an_authority_without_a_crl_or_unfit_is_a_reason_not_to_start",
            "intermediates::t12_a_crl_of_an_authority_that_is_not_to_be_believed_is_not_taken",
            "intermediates::t12_a_crl_of_an_authority_that_is_not_known_counts_for_nothing",
            "push::t12_a_file_that_goes_back_is_refused_though_a_newer_crl_was_pushed",
            "clock::t29_a_crl_from_the_future_is_not_taken_and_one_of_before_the_jump_stays_in_force",
            "src/revocation/crl.rs::a_hundred_thousand_entries_are_one_flat_set",
            "intermediates::t12_a_refused_reload_puts_no_older_crl_of_a_released_authority_in_force",
            "crl_model::t12_the_number_in_force_of_an_issuer_never_falls_whatever_happens",
        ],
    ),
    ("T13", &["revocation::t13_a_certificate_with_two_distribution_points_is_revoked_all_the_same"]),
    (
        "T14",
        &[
            "access::a_gateway_without_its_trust_bundle_does_not_start",
            "reload::t14_what_does_not_load_leaves_everything_as_it_was",
            "trust::t14_an_unfit_anchor_is_left_out_by_name_and_the_rest_of_the_bundle_stands",
            "trust::t14_an_unfit_anchor_refuses_the_bundle_where_the_configuration_says_so",
        ],
    ),
    (
        "T15",
        &[
            "resumption::t15_a_revoked_caller_does_not_resume",
            "resumption::t15_a_caller_whose_authority_was_revoked_does_not_resume",
        ],
    ),
    ("T16", &["resumption::t16_an_expired_caller_does_not_resume"]),
    (
        "T17",
        &[
            "resumption::t17_nobody_resumes_once_other_anchors_are_trusted",
            "resumption::t17_whose_anchor_is_trusted_no_more_does_not_resume",
        ],
    ),
    (
        "T18",
        &[
            "resumption::t18_a_session_is_resumed_under_its_own_server_name_only",
            "resumption::t18_a_resumed_caller_is_judged_by_the_policy_in_force_and_its_own_protocol",
            "src/mtls/tls/resumption.rs::t18_a_session_is_resumed_at_its_own_listener_only",
        ],
    ),
    ("T19", &["src/mtls/tls/resumption.rs::t19_nothing_is_stored_where_no_certificate_was_verified"]),
    ("T20", &["resumption::t20_the_key_is_proved_again_however_often_a_session_was_resumed"]),
    (
        "T21",
        &[
            "resumption::t21_a_ticket_is_good_for_one_time",
            "resumption::t21_a_ticket_that_is_used_in_parallel_is_good_for_one_of_them",
        ],
    ),
    ("T22", &["resumption::t22_early_data_is_not_taken"]),
    (
        "T23",
        &[
            "tls::t23_a_renegotiation_is_refused",
            "tls::t23_a_certificate_is_never_asked_for_later",
            "tls::t23_new_keys_are_taken_now_and_then_and_a_flood_of_them_ends_the_connection",
        ],
    ),
    (
        "T24",
        &[
            "access::a_client_hello_that_comes_byte_by_byte_is_understood",
            "access::plain_http_on_the_tls_port_is_refused",
            "access::a_silent_caller_is_dropped_at_the_deadline",
            "hello::a_client_hello_in_small_records_is_understood",
            "hello::what_is_no_client_hello_is_refused",
            "hello::a_client_hello_that_is_too_long_is_answered_with_an_alert",
        ],
    ),
    (
        "T25",
        &[
            "paths::a_request_is_for_the_host_that_the_connection_is_to",
            "paths::a_name_that_is_not_ours_gets_no_connection",
            "paths::an_odd_server_name_gets_no_other_treatment",
            "hello::an_unknown_server_name_is_answered_with_its_alert_and_logged_by_name",
        ],
    ),
    (
        "T26",
        &[
            "paths::a_request_is_for_the_host_that_the_connection_is_to",
            "identity::listeners_do_not_borrow_from_each_other",
        ],
    ),
    (
        "T27",
        &[
            "flood::t27_stalled_handshakes_exhaust_only_the_limit_of_their_own_address",
            "flood::t27_a_handshake_stalled_before_the_certificate_ends_at_its_deadline",
            "flood::t27_connections_are_limited_per_address",
            "flood::t27_failed_handshakes_block_their_address_and_port_probes_do_not_count",
            "flood::t27_a_certificate_chain_is_limited_to_the_size_of_a_message",
            "flood::t27_a_client_of_tls_1_2_learns_that_its_chain_is_too_long",
            "flood::t27_a_flood_neither_fills_the_log_nor_hides_other_addresses",
            "src/serving/rate_limit.rs::a_flood_of_addresses_does_not_grow_the_table",
        ],
    ),
    (
        "T28",
        &[
            "tls::t28_no_certificate_is_compressed_in_either_direction",
            "resumption::t28_a_caller_with_a_large_chain_resumes_with_a_small_ticket",
            "src/mtls/tls/resumption.rs::t28_sessions_with_large_chains_take_no_more_memory_than_all_may",
        ],
    ),
    (
        "T29",
        &[
            "clock::t29_expiry_and_crl_follow_a_clock_that_jumps",
            "clock::t29_who_was_cut_by_a_clock_that_was_wrong_may_come_back",
            "clock::t29_a_crl_from_the_future_is_not_taken_and_one_of_before_the_jump_stays_in_force",
            "resumption::t20_the_key_is_proved_again_however_often_a_session_was_resumed",
        ],
    ),
    (
        "R1",
        &[
            "cutoff::r1_r8_an_idle_connection_is_cut_and_no_other_is_touched",
            "idle::r1_a_connection_without_buffers_is_cut_by_a_revocation",
            "intermediates::r1_a_crl_of_an_authority_cuts_its_callers_and_no_others",
        ],
    ),
    (
        "R2",
        &[
            "cutoff::r2_a_streaming_response_is_cut_in_the_middle",
            "cutoff::r2_r7_what_was_sent_and_not_taken_is_taken_back",
        ],
    ),
    (
        "R3",
        &[
            "cutoff::r3_every_stream_of_an_http2_connection_is_reset",
            "cutoff::r3_goaway_comes_first_and_then_the_resets",
        ],
    ),
    ("R4", &["cutoff::r4_an_upgraded_connection_is_cut"]),
    (
        "R5",
        &[
            "cutoff::r5_a_trust_anchor_that_is_removed_ends_its_callers_and_no_others",
            "narrowing::r5_a_removed_trust_anchor_is_out_while_its_list_is_still_there",
            "narrowing::r5_a_removed_trust_anchor_is_out_whatever_else_cannot_be_loaded",
            "narrowing::r5_a_removed_trust_anchor_is_out_where_our_own_certificate_has_run_out",
            "narrowing::r5_the_root_of_our_own_certificate_stays_until_it_is_replaced_and_no_other_does",
            "intermediates::r5_a_revoked_authority_takes_its_callers_along_and_no_others",
        ],
    ),
    ("R6", &["cutoff::r6_nobody_slips_in_between_check_and_registration"]),
    (
        "R7",
        &[
            "cutoff::r7_a_rule_that_is_removed_ends_what_it_permitted",
            "cutoff::r7_a_streaming_response_ends_with_its_permission",
            "cutoff::r2_r7_what_was_sent_and_not_taken_is_taken_back",
            "cutoff::r7_little_is_on_its_way_to_a_caller_that_takes_nothing_when_a_stream_ends",
            "stall::r7_what_a_caller_does_not_take_is_ended_when_the_policy_forbids_it",
        ],
    ),
    ("R8", &["cutoff::r1_r8_an_idle_connection_is_cut_and_no_other_is_touched"]),
    (
        "R9",
        &[
            "revocation::r9_whom_a_newer_crl_revokes_no_more_is_let_in",
            "intermediates::r9_a_push_that_releases_an_authority_lets_its_callers_in_without_a_reload",
        ],
    ),
    ("R10", &["cutoff::r10_a_cut_overrules_a_drain"]),
    ("R11", &["upstream::r11_a_connection_that_is_one_callers_own_is_used_by_nobody_else"]),
    (
        "H1",
        &[
            "headers::what_a_caller_says_about_itself_never_passes",
            "src/gateway/message/headers.rs::only_the_gateway_sets_identity_headers",
        ],
    ),
    (
        "H2",
        &[
            "headers::what_a_caller_says_about_itself_never_passes",
            "headers::trailers_cannot_say_who_is_calling",
            "framing::a_field_has_one_line_one_name_and_no_control_characters",
        ],
    ),
    ("H3", &["headers::a_connection_field_cannot_take_away_what_we_say"]),
    (
        "H4",
        &[
            "identity::a_caller_without_a_certificate_cannot_say_who_it_is",
            "metrics::the_listener_answers_get_and_nothing_that_matters",
            "admin::what_is_no_request_is_refused_in_words",
        ],
    ),
    ("H5", &["identity::a_caller_without_a_certificate_cannot_say_who_it_is"]),
    (
        "H6",
        &[
            "headers::h6_the_gateways_own_identity_is_never_the_callers",
            "headers::one_connection_after_another_tells_of_its_own_caller",
        ],
    ),
    (
        "H7",
        &[
            "framing::a_path_that_could_be_read_in_two_ways_is_refused",
            "paths::the_path_that_is_judged_is_the_path_that_is_sent",
            "paths::an_ambiguous_path_reaches_no_upstream_over_http2",
            "paths::a_fragment_is_never_sent",
        ],
    ),
    (
        "H8",
        &[
            "framing::connect_and_trace_are_off_and_methods_are_case_sensitive",
            "paths::methods_are_exact_over_http2_and_none_can_be_overridden",
        ],
    ),
    (
        "H9",
        &[
            "framing::a_request_has_exactly_one_host",
            "paths::a_request_over_http2_is_well_formed_or_refused",
            "paths::a_request_is_for_the_host_that_the_connection_is_to",
        ],
    ),
    ("H10", &["policy::a_query_is_judged_on_all_values_of_a_parameter"]),
    (
        "H11",
        &[
            "headers::h11_what_a_caller_writes_stays_within_its_line_of_the_log",
            "src/serving/line_log.rs::a_value_never_makes_a_second_line",
        ],
    ),
    (
        "H12",
        &[
            "headers::h12_a_trace_that_cannot_be_read_in_one_way_is_replaced",
            "src/gateway/message/traceparent.rs::h12_a_malformed_oversized_or_repeated_trace_context_is_replaced",
        ],
    ),
];

fn source(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = if file.starts_with("src/") {
        root.join(file)
    } else {
        root.join(format!("tests/gateway/{file}.rs"))
    };
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_case_has_its_tests() {
    let all =
        KINDS.iter().flat_map(|(kind, count)| (1..=*count).map(move |number| format!("{kind}{number}")));
    let listed: Vec<_> = CASES.iter().map(|(case, _)| (*case).to_owned()).collect();
    assert_eq!(listed, all.collect::<Vec<_>>());
    for (case, tests) in CASES {
        assert!(!tests.is_empty(), "{case}");
        for test in *tests {
            let (file, function) = test.split_once("::").unwrap();
            let text = source(file);
            let at =
                text.find(&format!("fn {function}(")).unwrap_or_else(|| panic!("{case}: there is no {test}"));
            let before = text[..at].rsplit("\n\n").next().unwrap();
            assert!(
                before.contains("#[test]") || before.contains("#[tokio::test]"),
                "{case}: {test} is no test"
            );
        }
    }
}

#[test]
fn whatever_is_named_for_a_case_is_listed_with_it() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway");
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        for line in source(&file).lines() {
            let Some(name) = line.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')) else {
                continue;
            };
            let case = name.0.split('_').next().unwrap().to_ascii_uppercase();
            let is_case = CASES.iter().any(|(known, _)| *known == case);
            let test = format!("{file}::{}", name.0);
            let listed = CASES.iter().any(|(known, tests)| *known == case && tests.contains(&test.as_str()));
            assert!(listed || !is_case, "{test} is not listed with {case}");
        }
    }
}
