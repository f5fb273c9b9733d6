//! Audiences: what is accepted, what is refused and how it is put, and that the direct matcher answers as the
//! interpreter does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use proptest::{collection::vec, prelude::*};
use serin::{
    domain::audience::{Attributes, Value},
    routing::audience::{AudienceError, AudienceEvaluationError, CompiledAudience, MOST_BYTES},
};

const FAILS: Result<bool, AudienceEvaluationError> = Err(AudienceEvaluationError);

/// The answer for attributes in JSON, the same from the direct matcher and the interpreter.
fn answer(source: &str, json: &str) -> Result<bool, AudienceEvaluationError> {
    let attributes: Attributes<'_> = serde_json::from_str(json).unwrap();
    let audience = CompiledAudience::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let answer = audience.matches(&attributes);
    let interpreted = CompiledAudience::compile_interpreted(source).unwrap();
    assert_eq!(answer, interpreted.matches(&attributes), "{source} over {json}");
    answer
}

#[track_caller]
fn check_direct(source: &str, json: &str, expected: Result<bool, AudienceEvaluationError>) {
    assert_eq!(answer(source, json), expected, "{source} over {json}");
    assert!(CompiledAudience::compile(source).unwrap().is_direct(), "{source}");
}

#[track_caller]
fn check_interpreted(source: &str, json: &str, expected: Result<bool, AudienceEvaluationError>) {
    assert_eq!(answer(source, json), expected, "{source} over {json}");
    assert!(
        !CompiledAudience::compile(source).unwrap().is_direct(),
        "{source}"
    );
}

#[track_caller]
fn check_refused(source: &str, message: &str) {
    match CompiledAudience::compile(source) {
        Ok(_) => panic!("`{source}` was accepted"),
        Err(error) => assert_eq!(error.to_string(), message, "{source}"),
    }
}

#[test]
fn the_documented_example() {
    let source = r#"country in ["DE", "FR"] && plan != "enterprise""#;
    check_direct(source, r#"{"country":"DE","plan":"pro"}"#, Ok(true));
    check_direct(source, r#"{"country":"DE"}"#, Ok(true));
    check_direct(source, r#"{"country":"FR","plan":"enterprise"}"#, Ok(false));
    check_direct(source, r#"{"country":"US","plan":"pro"}"#, Ok(false));
    check_direct(source, "{}", Ok(false));
    let audience = CompiledAudience::compile(source).unwrap();
    assert_eq!(audience.source(), source);
    assert_eq!(audience.attributes(), ["country".into(), "plan".into()]);
    assert!(format!("{audience:?}").contains("enterprise"));
}

#[test]
fn audiences_are_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<CompiledAudience>();
}

#[test]
fn missing_attributes_are_null() {
    for json in ["{}", r#"{"plan":null}"#] {
        check_direct("plan == null", json, Ok(true));
        check_direct("plan != null", json, Ok(false));
        check_direct(r#"plan == "pro""#, json, Ok(false));
        check_direct(r#"plan != "pro""#, json, Ok(true));
        check_direct(r#"plan in ["pro"]"#, json, Ok(false));
        check_direct(r#"plan in ["pro", null]"#, json, Ok(true));
        check_direct("plan > 3", json, FAILS);
        check_direct("plan", json, FAILS);
        check_direct("!plan", json, FAILS);
        check_direct(r#"plan.startsWith("p")"#, json, FAILS);
        check_direct(r#""beta" in plan"#, json, FAILS);
    }
}

#[test]
fn has_means_present_and_not_null() {
    check_direct("has(plan)", r#"{"plan":"pro"}"#, Ok(true));
    check_direct("has(plan)", r#"{"plan":false}"#, Ok(true));
    check_direct("has(plan)", r#"{"plan":null}"#, Ok(false));
    check_direct("!has(plan)", "{}", Ok(true));
    check_direct("has(user.plan)", r#"{"user":{"plan":"pro"}}"#, Ok(true));
    for absent in [
        r#"{"user":{"plan":null}}"#,
        r#"{"user":{}}"#,
        r#"{"user":"u-1"}"#,
        r#"{"user":null}"#,
        "{}",
    ] {
        check_direct("has(user.plan)", absent, Ok(false));
    }
    check_direct("has(user.plan)", r#"{"user.plan":1}"#, Ok(true));
    let over_items = "items.exists(i, has(i.x))";
    check_interpreted(over_items, r#"{"items":[{"y":1},{"x":null}]}"#, Ok(false));
    check_interpreted(over_items, r#"{"items":[{"y":1},{"x":0}]}"#, Ok(true));
    check_interpreted(
        "items.all(i, has(i) && has(plan))",
        r#"{"items":[1],"plan":1}"#,
        Ok(true),
    );
    check_interpreted("items.all(i, has(i))", r#"{"items":[1,null]}"#, Ok(false));
}

#[test]
fn fields_of_objects() {
    check_direct(
        r#"user.plan == "pro""#,
        r#"{"user":{"plan":"basic","plan":"pro"}}"#,
        Ok(true),
    );
    check_direct("user.plan == null", r#"{"user":{"plan":null}}"#, Ok(true));
    check_direct("user.plan == null", r#"{"user":{}}"#, FAILS);
    check_direct("user.plan == null", "{}", FAILS);
    check_direct("user.plan == 1", r#"{"user":{"plan":2},"user.plan":1}"#, Ok(true));
    check_direct("a.b.c == 1", r#"{"a":{"b":{"c":2}},"a.b":{"c":1}}"#, Ok(true));
    check_direct("a.b.c == 1", r#"{"a":{"b":{"c":1}},"a.b":{}}"#, FAILS);
    check_direct("a.b.c", r#"{"a":{"b":{"c":true}}}"#, Ok(true));
    assert_eq!(
        CompiledAudience::compile("user.plan == a && a == user.x")
            .unwrap()
            .attributes(),
        ["a".into(), "user".into()]
    );
}

#[test]
fn errors_are_absorbed_in_either_order() {
    let json = r#"{"yes":true,"no":false,"text":"t"}"#;
    for (source, expected) in [
        ("text && no", Ok(false)),
        ("no && text", Ok(false)),
        ("text && yes", FAILS),
        ("yes && text", FAILS),
        ("text || yes", Ok(true)),
        ("yes || text", Ok(true)),
        ("text || no", FAILS),
        ("no || text", FAILS),
        ("text > 1 || (no && text < 2) || yes", Ok(true)),
        ("yes ? yes : text", Ok(true)),
        ("no ? yes : text", FAILS),
        ("text ? yes : yes", FAILS),
        ("!(text || no)", FAILS),
    ] {
        check_direct(source, json, expected);
    }
}

#[test]
fn numbers_compare_across_kinds() {
    let json = r#"{"three":3,"half":2.5,"huge":18446744073709551615,"low":-1,"text":"3"}"#;
    for (source, expected) in [
        ("three == 3.0", Ok(true)),
        ("three == 3u", Ok(true)),
        ("3 == three", Ok(true)),
        ("half < 3", Ok(true)),
        ("3u > half", Ok(true)),
        ("huge > 9223372036854775807", Ok(true)),
        ("huge == 18446744073709551615u", Ok(true)),
        ("huge != -1", Ok(true)),
        ("low < 0u", Ok(true)),
        ("low == 18446744073709551615u", Ok(false)),
        ("text == 3", Ok(false)),
        ("text != 3", Ok(true)),
        ("text < 3", FAILS),
        ("three in [1, 2.5, 3u]", Ok(true)),
        ("three in [\"3\"]", Ok(false)),
        ("three < true", FAILS),
    ] {
        check_direct(source, json, expected);
    }
}

#[test]
fn lists_and_texts() {
    let json = r#"{"groups":["beta","ops",3],"email":"zoë@example.org","user":{"id":7}}"#;
    check_direct(r#""beta" in groups"#, json, Ok(true));
    check_direct("3.0 in groups", json, Ok(true));
    check_direct("null in groups", json, Ok(false));
    check_direct(r#""be" in email"#, json, FAILS);
    check_direct(r#""id" in user"#, json, Ok(true));
    check_direct("1 in user", json, Ok(false));
    check_direct("null in user", json, FAILS);
    check_direct(r#"email.endsWith("@example.org")"#, json, Ok(true));
    check_direct(r#"email.startsWith('zo\u00eb')"#, json, Ok(true));
    check_direct(r#"email.contains("ë@")"#, json, Ok(true));
    check_direct(r#"groups.contains("beta")"#, json, FAILS);
    check_direct("email in []", json, Ok(false));
    check_interpreted(r#"groups.exists(g, g == "ops")"#, json, Ok(true));
    check_interpreted("size(groups) == 3 && groups.size() > 2", json, Ok(true));
    check_interpreted(
        r#"groups.map(g, string(g)).filter(g, g == "3") == ["3"]"#,
        json,
        Ok(true),
    );
    check_interpreted(r#"groups[0] == "beta" && user["id"] + 1 == 8"#, json, Ok(true));
    check_interpreted("groups[9] == 1", json, FAILS);
    check_interpreted("1 / 0 == 1", json, FAILS);
    check_interpreted("email == email", json, Ok(true));
}

#[test]
fn long_lists_are_searched() {
    let names: Vec<String> = (0..400)
        .map(|n| format!("\"tenant-{}\"", (n * 7919) % 1_000))
        .collect();
    let source = format!("tenant in [{}, 5, null]", names.join(", "));
    let audience = CompiledAudience::compile(&source).unwrap();
    for n in 0..1_000 {
        let attributes = Attributes::new(vec![("tenant".into(), Value::Text(format!("tenant-{n}").into()))]);
        let is_listed = names.contains(&format!("\"tenant-{n}\""));
        assert_eq!(audience.matches(&attributes), Ok(is_listed), "{n}");
    }
    check_direct(&source, r#"{"tenant":5.0}"#, Ok(true));
    check_direct(&source, r#"{"tenant":6}"#, Ok(false));
    check_direct(&source, "{}", Ok(true));
}

#[test]
fn names_of_types_are_attributes() {
    check_direct("list == null && !has(string) && map != 1", "{}", Ok(true));
    check_direct(r#"type == "bot""#, r#"{"type":"bot"}"#, Ok(true));
}

#[test]
fn comments_lines_and_literals() {
    check_direct(
        "// who\n  country == 'DE' // Germany\n",
        r#"{"country":"DE"}"#,
        Ok(true),
    );
    check_direct(
        r#"name == r"a\b" || name == "a\\b""#,
        r#"{"name":"a\\b"}"#,
        Ok(true),
    );
    check_direct("name == '''it's (=)'''", r#"{"name":"it's (=)"}"#, Ok(true));
    check_direct(
        "name == \"say \\\"=\\\" (\"",
        r#"{"name":"say \"=\" ("}"#,
        Ok(true),
    );
    check_direct("true", "{}", Ok(true));
    check_direct("n == 0x1F && n < 1e3 && n > -.5", r#"{"n":31}"#, Ok(true));
}

#[test]
fn slips_of_syntax_are_explained() {
    for (source, message) in [
        ("", "empty audience, leave it out to mean everyone"),
        (" // all\n", "empty audience, leave it out to mean everyone"),
        (
            "plan = \"pro\"",
            "column 6: `=` is no operator, write `==` to compare",
        ),
        (
            "plan === \"pro\"",
            "column 8: `=` is no operator, write `==` to compare",
        ),
        ("a & b", "column 3: `&` is no operator, write `&&`"),
        ("a | b", "column 3: `|` is no operator, write `||`"),
        ("a and b", "column 3: unexpected `and` after `a`, write `&&`"),
        ("a OR b", "column 3: unexpected `OR` after `a`, write `||`"),
        ("not a", "column 5: unexpected `a` after `not`, write `!`"),
        ("a <> b", "column 4: unexpected `>` after `<`, write `!=`"),
        ("a is null", "column 3: unexpected `is` after `a`, write `==`"),
        (
            "a not in [1]",
            "column 3: unexpected `not` after `a`, write `!(… in […])`",
        ),
        (
            "a in (\"x\", \"y\")",
            "column 10: unexpected `,` after `\"x\"`, write the list in square brackets",
        ),
        (
            "plan == \"pro",
            "column 9: this text is never closed, its quote is missing",
        ),
        (
            "plan == pro\"",
            "column 12: this text is never closed, its quote is missing",
        ),
        ("plan == “pro”", "column 9: `“` does not quote, write `\"` or `'`"),
        (
            "größe == 1",
            "column 3: unexpected `ö`, names are letters a to z, digits and `_`, and texts are quoted",
        ),
        ("a == 1;", "column 7: unexpected `;`"),
        ("(a == 1", "column 1: `(` is never closed"),
        ("a == 1)", "column 7: `)` closes nothing"),
        ("a in [1)", "column 8: `)` does not close `[`, write `]`"),
        ("a ==", "column 5: something is missing after `==`"),
        ("\"ü\" == a &&", "column 12: something is missing after `&&`"),
        ("\"ü\" == a b", "column 10: unexpected `b` after `a`"),
        ("a ? b", "column 6: something is missing after `b`"),
        (
            "a == 1 &&\n  b ==== 2",
            "line 2, column 7: unexpected `==` after `==`",
        ),
        (
            "package == 1",
            "column 1: `package` is a reserved word and names no attribute",
        ),
        (
            "n < 99999999999999999999",
            "column 5: `99999999999999999999` is no number that fits",
        ),
        (
            "a == '\\q'",
            "column 6: `'\\q'` has an escape that is not allowed, write `\\\\` for a backslash",
        ),
        (
            "a.?b",
            "column 2: `.` belongs to optional values, which are not available",
        ),
        (
            "Plan{a: 1}",
            "column 5: messages are not available, write a condition over attributes",
        ),
        (
            "active == True",
            "column 11: `True` would be an attribute, write `true`",
        ),
        (
            ".plan == 1",
            "column 2: a leading dot means nothing here, write `plan`",
        ),
    ] {
        check_refused(source, message);
    }
}

#[test]
fn unknown_functions_are_refused() {
    for (source, message) in [
        (
            "plan.startWith(\"p\")",
            "column 6: unknown function `startWith`, did you mean `startsWith`",
        ),
        (
            "plan.starts_with(\"p\")",
            "column 6: unknown function `starts_with`, did you mean `startsWith`",
        ),
        (
            "plan.endswith(\"p\")",
            "column 6: unknown function `endswith`, did you mean `endsWith`",
        ),
        (
            "length(plan) > 3",
            "column 1: unknown function `length`, did you mean `size`",
        ),
        (
            "a && hass(plan)",
            "column 6: unknown function `hass`, did you mean `has`",
        ),
        (
            "groups.any(g, g == 1)",
            "column 8: unknown function `any`, did you mean `exists`",
        ),
        ("frobnicate(plan)", "column 1: unknown function `frobnicate`"),
        (
            "plan.matches(\"p.*\")",
            "column 6: unknown function `matches`, regular expressions are not available",
        ),
        (
            "type(plan) == string",
            "column 1: unknown function `type`, types cannot be asked for",
        ),
        (
            "math.greatest(1, 2) == 2",
            "column 6: unknown function `greatest`",
        ),
    ] {
        check_refused(source, message);
    }
}

#[test]
fn wrong_arguments_are_refused() {
    for (source, message) in [
        (
            "startsWith(plan, \"p\")",
            "column 1: `startsWith` is written plan.startsWith(\"pro\")",
        ),
        ("age.int() > 3", "column 5: `int` is written int(age)"),
        (
            "plan.startsWith(\"a\", \"b\")",
            "column 6: `startsWith` takes 1 argument, not 2: plan.startsWith(\"pro\")",
        ),
        (
            "size() > 3",
            "column 1: `size` takes 1 argument, not 0: size(groups)",
        ),
        (
            "has(plan, 1)",
            "column 1: `has` takes 1 argument, not 2: has(plan)",
        ),
        (
            "has(\"plan\")",
            "column 1: `has` asks for an attribute or a field: has(plan), has(user.plan)",
        ),
        (
            "l.map(1) == l",
            "column 3: `map` takes 2 or 3 arguments, not 1: groups.map(g, size(g))",
        ),
        (
            "l.all(1, true)",
            "column 7: the first argument of `all` is a name for each element",
        ),
        (
            "l.all(x, l.all(y, x == y))",
            "column 12: `all` inside another loop is not allowed, its cost could be anything",
        ),
    ] {
        check_refused(source, message);
    }
}

#[test]
fn impossible_values_are_refused() {
    for (source, message) in [
        (
            "\"pro\"",
            "column 1: an audience is true or false, this is string",
        ),
        ("1 + 2", "column 3: an audience is true or false, this is int"),
        (
            "a - b",
            "column 3: an audience is true or false, this is int or uint or double",
        ),
        (
            "size(plan)",
            "column 5: an audience is true or false, this is int",
        ),
        ("null", "column 1: an audience is true or false, this is null"),
        (
            "a ? 1 : \"x\"",
            "column 3: an audience is true or false, this is int or string",
        ),
        (
            "groups.filter(g, g == 1)",
            "column 14: an audience is true or false, this is list",
        ),
        ("\"a\" && true", "column 1: `&&` takes bool, this is string"),
        ("a || 1", "column 6: `||` takes bool, this is int"),
        ("!\"a\"", "column 2: `!` takes bool, this is string"),
        (
            "1 < \"x\"",
            "column 3: `<` compares int with string, which have no order",
        ),
        (
            "a < null",
            "column 5: `<` takes bool or int or uint or double or string or bytes, this is null",
        ),
        (
            "size(plan) == \"3\"",
            "column 12: `==` compares int with string, which are never equal",
        ),
        (
            "a + 1 == \"x\"",
            "column 7: `==` compares int with string, which are never equal",
        ),
        (
            "user-id == \"x\"",
            "column 9: `==` compares int or uint or double with string, which are never equal",
        ),
        (
            "country in \"DE\"",
            "column 12: `in` looks into a list or map, this is string, put it in square brackets",
        ),
        (
            "1 + \"a\" == x",
            "column 3: `+` cannot take int and string together",
        ),
        (
            "plan.startsWith(1)",
            "column 17: `startsWith` takes string, this is int",
        ),
        ("\"a\".b == 1", "column 4: string has no field `b`"),
        (
            "1 ? a : b",
            "column 1: the condition of `? :` takes bool, this is int",
        ),
        ("-\"a\" == b", "column 2: `-` takes int or double, this is string"),
        (
            "g.all(x, 1)",
            "column 10: the condition of `all` takes bool, this is int",
        ),
        (
            "{null: 1} == a",
            "column 2: a key of a map takes bool or int or uint or string, this is null",
        ),
    ] {
        check_refused(source, message);
    }
    for source in [
        "plan",
        "dyn(plan)",
        "a ? b : c",
        "items[0]",
        "user.vip",
        "bool(flag)",
        "1 == 1.0",
    ] {
        assert!(CompiledAudience::compile(source).is_ok(), "{source}");
    }
}

/// Sources at and beyond the limits, each of which nests in its own way.
fn nested(depth: usize) -> Vec<String> {
    let repeat = |part: &str| part.repeat(depth);
    vec![
        format!("{}a{}", repeat("("), repeat(")")),
        format!("{}a{}", repeat("!("), repeat(")")),
        format!("{}a{} == b", repeat("["), repeat("]")),
        format!("{}a{} == b", repeat("{1:"), repeat("}")),
        format!("{}a", repeat("!")),
        format!("{}a == 1", repeat("- ")),
        format!("a{} == 1", repeat(".b")),
        format!("a{} == 1", repeat("[0]")),
        format!("a{} == 1", repeat("+a")),
        format!("a{}", repeat("==a")),
        format!("{}a", repeat("a?b:")),
        format!("{}a{}", repeat("a?"), repeat(":b")),
        format!("{}a", repeat("a&&b?c||d:")),
        format!("{}a{}", repeat("(a && b || "), repeat(")")),
        format!("{}a{} == b", repeat("size("), repeat(")")),
        format!("l.exists(x, {}x{} == b)", repeat("["), repeat("]")),
        format!("a{} == 1", repeat(".filter(x, x)")),
    ]
}

#[test]
fn deep_nesting_is_an_error() {
    for source in nested(10_000) {
        let error = CompiledAudience::compile(&source).unwrap_err();
        assert!(
            matches!(
                error,
                AudienceError::TooLong { .. } | AudienceError::TooDeep { .. }
            ),
            "{error}"
        );
    }
    for depth in [40, 300] {
        for source in nested(depth) {
            let error = CompiledAudience::compile(&source).unwrap_err();
            assert!(
                matches!(error, AudienceError::TooDeep { .. }),
                "{source}: {error}"
            );
        }
    }
    check_refused(
        &format!("a == {}1{}", "(".repeat(40), ")".repeat(40)),
        "column 36: nested too deeply, at most 32 levels of brackets and operators are allowed",
    );
}

#[test]
fn nesting_within_the_limits_fits_a_small_stack() {
    let run = || {
        let attributes: Attributes<'_> = serde_json::from_str(r#"{"a":true,"l":[1]}"#).unwrap();
        let mut compiled = 0;
        for depth in 1..32 {
            for source in nested(depth) {
                if let Ok(audience) = CompiledAudience::compile(&source) {
                    let _ = audience.matches(&attributes);
                    let _ = CompiledAudience::compile_interpreted(&source)
                        .unwrap()
                        .matches(&attributes);
                    compiled += 1;
                }
            }
        }
        compiled
    };
    let compiled = std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
    assert!(compiled > 200, "{compiled}");
}

#[test]
fn the_longest_source_compiles() {
    let mut source = "x == 1".to_owned();
    while source.len() + 9 <= MOST_BYTES {
        source.push_str("&& x == 1");
    }
    check_direct(&source, r#"{"x":1}"#, Ok(true));
    check_direct(&source, r#"{"x":2}"#, Ok(false));
    source.push_str(&" ".repeat(MOST_BYTES + 1 - source.len()));
    check_refused(&source, "audience of 16385 bytes, at most 16384 are allowed");
}

/// Names that attributes and expressions share, so that they meet.
fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "plan", "n", "flag", "list", "o", "missing"])
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => name().prop_map(str::to_owned),
        1 => (name(), name()).prop_map(|(of, field)| format!("{of}.{field}")),
        1 => name().prop_map(|field| format!("o.o.{field}")),
    ]
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec!["", "a", "b", "pro", "prö", "p", "n", "ö", "😀", "zz", "o"])
            .prop_map(str::to_owned),
        "\\PC{0,3}",
    ]
}

fn whole() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -3..4_i64,
        1 => Just(i64::MIN),
        1 => Just(i64::MAX),
        1 => prop::sample::select(vec![1 << 53, (1 << 53) + 1, -(1 << 53) - 1]),
        1 => any::<i64>(),
    ]
}

fn unsigned() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4_u64,
        Just(1 << 63),
        Just(u64::MAX),
        Just((1 << 53) + 1),
        any::<u64>()
    ]
}

fn fraction() -> impl Strategy<Value = f64> {
    prop_oneof![
        prop::sample::select(vec![
            0.0,
            -0.0,
            1.0,
            1.5,
            -2.0,
            3.0,
            9_007_199_254_740_992.0,
            9_223_372_036_854_775_808.0,
            1.8446744073709552e19,
            -9_223_372_036_854_775_808.0,
            1e300,
        ]),
        any::<f64>().prop_filter("attributes and literals are finite", |value| value.is_finite()),
    ]
}

fn quoted(word: &str) -> String {
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => word().prop_map(|word| quoted(&word)),
        3 => whole().prop_map(|value| value.to_string()),
        1 => unsigned().prop_map(|value| format!("{value}u")),
        2 => fraction().prop_map(|value| format!("{value:e}")),
        1 => any::<bool>().prop_map(|value| value.to_string()),
        1 => Just("null".to_owned()),
    ]
}

fn clause() -> impl Strategy<Value = String> {
    let comparison = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let test = prop::sample::select(vec!["startsWith", "endsWith", "contains"]);
    prop_oneof![
        4 => (path(), comparison.clone(), literal()).prop_map(|(a, is, b)| format!("{a} {is} {b}")),
        2 => (literal(), comparison, path()).prop_map(|(a, is, b)| format!("{a} {is} {b}")),
        2 => (path(), vec(literal(), 0..14)).prop_map(|(a, list)| format!("{a} in [{}]", list.join(", "))),
        1 => (path(), vec(word(), 7..14)).prop_map(|(a, list)| {
            let list: Vec<String> = list.iter().map(|word| quoted(word)).collect();
            format!("{a} in [{}]", list.join(", "))
        }),
        1 => (literal(), path()).prop_map(|(a, b)| format!("{a} in {b}")),
        2 => (path(), test, word()).prop_map(|(a, is, b)| format!("{a}.{is}({})", quoted(&b))),
        1 => path().prop_map(|a| format!("has({a})")),
        2 => path(),
        1 => any::<bool>().prop_map(|value| value.to_string()),
    ]
}

/// Expressions of the lowered forms, and now and then one of the others among them.
fn expression() -> impl Strategy<Value = String> {
    let other = prop::sample::select(vec![
        "size(plan) > 1",
        "a == b",
        "list.exists(x, x == n)",
        "n + 1 > 2",
        "(flag ? a : b) == 1",
    ]);
    let leaf = prop_oneof![12 => clause(), 1 => other.prop_map(str::to_owned)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            3 => vec(inner.clone(), 2..5).prop_map(|parts| format!("({})", parts.join(" && "))),
            3 => vec(inner.clone(), 2..5).prop_map(|parts| format!("({})", parts.join(" || "))),
            1 => vec(inner.clone(), 3..4).prop_map(|parts| format!("({} && {} || {})", parts[0], parts[1], parts[2])),
            2 => inner.clone().prop_map(|part| format!("!({part})")),
            1 => (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("(({a}) ? ({b}) : ({c}))")),
        ]
    })
}

fn value() -> impl Strategy<Value = Value<'static>> {
    let scalar = prop_oneof![
        1 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::Bool),
        3 => whole().prop_map(Value::Int),
        1 => unsigned().prop_map(Value::UInt),
        2 => fraction().prop_map(Value::Float),
        4 => word().prop_map(|word| Value::Text(word.into())),
    ];
    scalar.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            vec((name().prop_map(Into::into), inner), 0..4).prop_map(Value::Map),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Attributes<'static>> {
    let key = prop_oneof![
        12 => name().prop_map(str::to_owned),
        1 => (name(), name()).prop_map(|(of, field)| format!("{of}.{field}")),
    ];
    vec((key.prop_map(Into::into), value()), 0..8).prop_map(Attributes::new)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_direct_matcher_answers_as_the_interpreter(
        source in expression(),
        requests in vec(attributes(), 8),
    ) {
        // Some are refused: too deep, or values that never meet.
        if let Ok(audience) = CompiledAudience::compile(&source) {
            let interpreted = CompiledAudience::compile_interpreted(&source).unwrap();
            for attributes in &requests {
                prop_assert_eq!(
                    audience.matches(attributes),
                    interpreted.matches(attributes),
                    "{} over {:?}", source, attributes
                );
            }
        }
    }

    #[test]
    fn a_clause_answers_as_the_interpreter(source in clause(), requests in vec(attributes(), 16)) {
        if let Ok(audience) = CompiledAudience::compile(&source) {
            prop_assert!(audience.is_direct(), "{}", source);
            let interpreted = CompiledAudience::compile_interpreted(&source).unwrap();
            for attributes in &requests {
                prop_assert_eq!(
                    audience.matches(attributes),
                    interpreted.matches(attributes),
                    "{} over {:?}", source, attributes
                );
            }
        }
    }

    #[test]
    fn no_source_makes_the_compiler_panic(
        parts in vec(
            prop_oneof![
                prop::sample::select(vec![
                    "a", " ", "==", "&&", "||", "!", "(", ")", "[", "]", "{", "}", "\"x\"", "'", ".", ",", "?",
                    ":", "in", "has(", "-", "1", "2u", ".5", "1e999", "size", ".all(x,", "b'\\377'", "r'", "//",
                    "\n", "é", "not", "\"\\u12\"", "'''", "0x", "true", "null", "@in",
                ]).prop_map(str::to_owned),
                "\\PC{0,3}",
            ],
            0..20,
        ),
        attributes in attributes(),
    ) {
        if let Ok(audience) = CompiledAudience::compile(&parts.concat()) {
            let _ = audience.matches(&attributes);
        }
    }
}
