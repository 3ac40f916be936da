//! What expressions give, and where they fail.

use super::*;

use proptest::prelude::*;

fn evaluated(text: &str) -> Result<i64, (Range<usize>, String)> {
    let eight = HdlValue::Integer(8);
    let (yes, name) = (HdlValue::Boolean(true), HdlValue::Text("axi".to_owned()));
    let value_of = |name_asked: &str| match name_asked {
        "WIDTH" => Some(&eight),
        "FAST" => Some(&yes),
        "KIND" => Some(&name),
        _ => None,
    };
    Expression::parse(text)
        .and_then(|it| it.evaluate(&value_of))
        .map_err(|fault| (fault.range, fault.message))
}

#[test]
fn operators_mean_what_they_mean_in_python() {
    for (text, value) in [
        ("WIDTH // 8", 1),
        ("-7 // 2", -4),
        ("7 // -2", -4),
        ("-7 % 3", 2),
        ("7 % -3", -2),
        ("-9223372036854775807 - 1", i64::MIN),
        ("(-9223372036854775807 - 1) % -1", 0),
        ("(-9223372036854775807 - 1) % 3", 1),
        ("(-9223372036854775807 - 1) % 7", 6),
        ("-9223372036854775807 % 9223372036854775807", 0),
        ("9223372036854775807 % (-9223372036854775807 - 1)", -1),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("2 ** 62", 1 << 62),
        ("(-1) ** 9223372036854775807", -1),
        ("1 + 2 * 3 - 4", 3),
        ("1_000", 1000),
        ("(1 + 2) * 3", 9),
        ("WIDTH == 8", 1),
        ("WIDTH > 8", 0),
        ("(WIDTH >= 8) + FAST", 2),
        ("min(3, WIDTH, 5) + max(1, 2)", 5),
        ("clog2(0) + clog2(1)", 0),
        ("clog2(WIDTH + 1)", 4),
        ("clog2(2 ** 62)", 62),
        ("- - 3", 3),
        ("+WIDTH", 8),
    ] {
        assert_eq!(evaluated(text), Ok(value), "{text}");
    }
}

#[test]
fn what_has_no_value_is_an_error_at_its_place() {
    for (text, range, message) in [
        (
            "WIDTH / 8",
            6..7,
            "write `//`: expressions have whole numbers only",
        ),
        ("WIDTH = 8", 6..7, "write `==` to compare"),
        ("WIDTH & 8", 6..7, "an expression cannot contain `&`"),
        ("1 // (WIDTH - 8)", 5..16, "division by zero"),
        ("1 % 0", 4..5, "division by zero"),
        (
            "2 ** -1",
            5..7,
            "2 to the power of -1 is not a whole number",
        ),
        ("2 ** 63", 0..7, "the result does not fit 64 bits"),
        ("2 ** 9999999999", 0..15, "the result does not fit 64 bits"),
        (
            "9223372036854775807 + 1",
            0..23,
            "the result does not fit 64 bits",
        ),
        (
            "99999999999999999999",
            0..20,
            "the number does not fit 64 bits",
        ),
        ("0x10", 0..4, "`0x10` is not a decimal number"),
        ("1 +", 2..3, "a number or a name is missing"),
        ("", 0..0, "a number or a name is missing"),
        ("(1 + 2", 0..1, "the parenthesis is never closed"),
        ("1 2", 2..3, "unexpected `2`"),
        ("1)", 1..2, "unexpected `)`"),
        ("1 < 2 < 3", 6..7, "comparisons cannot be chained"),
        ("WIDHT * 2", 0..5, "no parameter is called `WIDHT`"),
        (
            "KIND + 1",
            0..4,
            "`KIND` is the string `axi`, and expressions take whole numbers",
        ),
        (
            "clog2(0 - 1)",
            0..12,
            "`clog2` of a negative number does not exist",
        ),
        ("clog2(1, 2)", 0..11, "`clog2` takes one number"),
        ("min(1)", 0..6, "`min` takes two or more numbers"),
        (
            "log2(8)",
            0..4,
            "no function is called `log2`; there are `min`, `max` and `clog2`",
        ),
    ] {
        assert_eq!(evaluated(text), Err((range, message.to_owned())), "{text}");
    }
}

#[test]
fn nesting_is_limited_and_does_not_exhaust_the_stack() {
    for nested in ["(".repeat(900), "-".repeat(900), "2**".repeat(300)] {
        let fault = Expression::parse(&nested).expect_err("too deep");
        assert_eq!(fault.message, "the expression nests deeper than 64");
    }
    let long = Expression::parse(&"1+".repeat(100_000)).expect_err("too long");
    assert_eq!(
        long.message,
        "the expression has more than 1000 words and marks"
    );
    assert_eq!(evaluated(&format!("{}1", "1+".repeat(499))), Ok(500));
}

proptest! {
    #[test]
    fn any_text_is_a_value_or_an_error_within_it(text in "[0-9A-Z +*/%()<>=,a-z-]{0,24}") {
        if let Err((range, _)) = evaluated(&text) {
            prop_assert!(range.end <= text.len() && range.start <= range.end);
        }
    }

    #[test]
    fn quotient_and_remainder_give_the_number_back(a in any::<i32>(), b in any::<i32>()) {
        prop_assume!(b != 0);
        let quotient = evaluated(&format!("{a} // ({b})")).expect("a quotient");
        let remainder = evaluated(&format!("({a}) % ({b})")).expect("a remainder");
        prop_assert_eq!(quotient * i64::from(b) + remainder, i64::from(a));
        prop_assert!(remainder == 0 || (remainder < 0) == (b < 0));
    }
}
