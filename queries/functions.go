package queries

import "strings"

// tableFunctions may stand in FROM. None of them reads anything but its arguments.
var tableFunctions = set("generate_series", "range", "unnest")

// functions may stand anywhere but in FROM. Left out on purpose: what reads files, settings,
// variables, the session or the catalog; what runs SQL or sleeps; what makes a huge value out of
// a small one (repeat, range, printf, format, list_resize), but for what sizes.go bounds; and
// what takes the square of a text's length, in which the engine can't be interrupted
// (levenshtein and its like).
var functions = set(strings.Fields(`
	+ - * / // % ** ^ || & | << >> ~ ! @ && @> <@ <-> ->
	^@

	count count_star count_if countif sum fsum kahan_sum sumkahan sum_no_overflow avg mean favg product
	min max arg_min arg_max argmin argmax min_by max_by arg_min_null arg_max_null
	first last any_value arbitrary first_value last_value nth_value mode median mad
	quantile quantile_cont quantile_disc approx_quantile reservoir_quantile approx_count_distinct approx_top_k
	stddev stddev_pop stddev_samp variance var_pop var_samp sem skewness kurtosis kurtosis_pop entropy
	corr covar_pop covar_samp regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx
	regr_sxy regr_syy geomean geometric_mean wavg weighted_avg bool_and bool_or bit_and bit_or bit_xor
	string_agg group_concat listagg list array_agg histogram histogram_exact

	row_number rank dense_rank rank_dense percent_rank cume_dist ntile lag lead fill

	abs sign signbit ceil ceiling floor round round_even roundbankers trunc even sqrt cbrt exp ln log log2
	log10 pow power mod fmod fdiv divide multiply add subtract gcd lcm greatest_common_divisor
	least_common_multiple factorial gamma lgamma pi degrees radians sin cos tan cot asin acos atan atan2
	sinh cosh tanh asinh acosh atanh greatest least isnan isinf isfinite bit_count xor random
	equi_width_bins nullif

	length len char_length character_length strlen octet_length bit_length length_grapheme lower upper lcase
	ucase trim ltrim rtrim substr substring substring_grapheme left right left_grapheme right_grapheme
	concat concat_ws contains prefix suffix starts_with ends_with position instr strpos reverse
	translate overlay split split_part str_split string_split string_to_array str_split_regex
	string_split_regex regexp_split_to_array regexp_matches regexp_full_match regexp_extract
	regexp_extract_all regexp_escape ascii chr unicode ord strip_accents nfc_normalize
	hamming mismatches jaccard md5 sha1 sha256 hash hex to_hex unhex from_hex base64 to_base64 from_base64
	bin to_base encode decode format_bytes

	now today current_date current_timestamp get_current_timestamp transaction_timestamp current_localtimestamp
	date_trunc datetrunc date_part datepart date_diff datediff date_sub datesub date_add age ago
	time_bucket last_day days_in_month dayname monthname strftime strptime try_strptime make_date make_time
	make_timestamp make_timestamptz make_timestamp_ms make_timestamp_ns to_timestamp timezone
	epoch epoch_ms epoch_us epoch_ns century decade millennium year quarter month week day hour minute second
	millisecond microsecond nanosecond dayofmonth dayofweek dayofyear isodow isoyear weekday weekofyear
	yearweek era julian normalized_interval to_years to_quarters to_months to_weeks to_days to_hours
	to_minutes to_seconds to_milliseconds to_microseconds to_decades to_centuries to_millennia

	list_value list_pack array_value list_element list_extract array_extract element_at list_slice array_slice
	list_contains list_has array_contains array_has list_has_any list_has_all array_has_any array_has_all
	list_position list_indexof array_position array_indexof list_concat list_cat array_concat array_cat
	list_append list_prepend array_append array_prepend array_push_back array_push_front array_pop_back
	array_pop_front list_distinct array_distinct list_unique array_unique list_sort array_sort
	list_reverse_sort array_reverse_sort list_reverse array_reverse list_grade_up list_zip array_zip
	list_intersect array_intersect list_filter array_filter list_transform array_transform list_apply
	array_apply list_sum list_avg list_min list_max list_count list_median list_mode list_product list_first
	list_last list_any_value list_stddev_pop list_stddev_samp list_var_pop list_var_samp list_histogram
	list_string_agg array_to_string array_length flatten unnest list_where list_select
	list_cosine_similarity list_cosine_distance list_distance list_dot_product list_inner_product
	row struct_pack struct_extract struct_concat struct_insert struct_keys struct_values
	map map_from_entries map_entries map_keys map_values map_extract map_extract_value map_contains
	map_concat cardinality

	typeof
	uuid gen_random_uuid
`)...)

// volatile are those of the functions, and names of columns that an engine takes for them, whose
// value is another each time: of the time, or of chance. age of one instant is that until today.
var volatile = set(strings.Fields(`
	now today current_date current_time current_timestamp get_current_timestamp transaction_timestamp
	current_localtimestamp current_localtime localtime localtimestamp age ago
	random uuid gen_random_uuid reservoir_quantile
`)...)
