//! Names of SQLSTATEs, for error texts that carry both.

/// The condition name of PostgreSQL's documentation; `unknown` for the rare rest.
pub(super) fn name(sqlstate: &str) -> &'static str {
    match sqlstate {
        "0A000" => "feature_not_supported",
        "21000" => "cardinality_violation",
        "22000" => "data_exception",
        "22001" => "string_data_right_truncation",
        "22003" => "numeric_value_out_of_range",
        "22007" => "invalid_datetime_format",
        "22008" => "datetime_field_overflow",
        "22009" => "invalid_time_zone_displacement_value",
        "22015" => "interval_field_overflow",
        "22021" => "character_not_in_repertoire",
        "22023" => "invalid_parameter_value",
        "2201B" => "invalid_regular_expression",
        "22025" => "invalid_escape_sequence",
        "22P02" => "invalid_text_representation",
        "22P03" => "invalid_binary_representation",
        "23514" => "check_violation",
        "23502" => "not_null_violation",
        "42501" => "insufficient_privilege",
        "42601" => "syntax_error",
        "42704" => "undefined_object",
        "42804" => "datatype_mismatch",
        "42846" => "cannot_coerce",
        "42883" => "undefined_function",
        "54000" => "program_limit_exceeded",
        "57014" => "query_canceled",
        "P0001" => "raise_exception",
        _ => "unknown",
    }
}
