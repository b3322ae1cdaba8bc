//! Decimal128 as text.

/// The greatest coefficient: 34 nines.
const MAX_COEFFICIENT: u128 = 10_u128.pow(34) - 1;
const EXPONENT_BIAS: isize = 6176;

/// Appends a decimal in the form that the [Decimal128 specification] defines, without quotes.
///
/// The bytes are IEEE 754-2008 in its binary integer encoding, lowest byte first. A coefficient
/// of more than 34 digits means zero, as in IEEE 754.
///
/// Returns whether the text stands for these bytes and no others.
///
/// [Decimal128 specification]: https://github.com/mongodb/specifications/blob/master/source/bson-decimal128/decimal128.md
pub(super) fn write_decimal128(bytes: [u8; 16], out: &mut Vec<u8>) -> bool {
    let bits = u128::from_le_bytes(bytes);
    let special = (bits >> 122) & 0x1F;
    if special == 0x1F {
        out.extend_from_slice(b"NaN");
        return bits == 0x1F << 122;
    }
    if bits >> 127 == 1 {
        out.push(b'-');
    }
    if special == 0x1E {
        out.extend_from_slice(b"Infinity");
        return bits << 1 == 0x1E << 123;
    }
    let (exponent, coefficient) = if (bits >> 125) & 3 == 3 {
        // This form is for coefficients that begin with 0b100, which are all greater than the maximum.
        (bits >> 111, u128::MAX)
    } else {
        (bits >> 113, bits & ((1 << 113) - 1))
    };
    let exponent = (exponent & 0x3FFF) as isize - EXPONENT_BIAS;
    let is_exact = coefficient <= MAX_COEFFICIENT;
    write_finite(if is_exact { coefficient } else { 0 }, exponent, out);
    is_exact
}

fn write_finite(coefficient: u128, exponent: isize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(coefficient).as_bytes();
    // The number of digits before the point.
    let point = digits.len().cast_signed() + exponent;
    if exponent == 0 {
        out.extend_from_slice(digits);
    } else if exponent > 0 || point < -5 {
        write_scientific(digits, point - 1, out);
    } else if let Some((whole, fraction)) = usize::try_from(point)
        .ok()
        .filter(|point| *point > 0)
        .and_then(|point| digits.split_at_checked(point))
    {
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + point.unsigned_abs(), b'0');
        out.extend_from_slice(digits);
    }
}

fn write_scientific(digits: &[u8], exponent: isize, out: &mut Vec<u8>) {
    if let Some((first, others)) = digits.split_first() {
        out.push(*first);
        if !others.is_empty() {
            out.push(b'.');
            out.extend_from_slice(others);
        }
    }
    out.push(b'E');
    if exponent >= 0 {
        out.push(b'+');
    }
    out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
}

#[cfg(test)]
mod tests {
    use bson::Decimal128;
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: [u8; 16]) -> String {
        let mut out = Vec::new();
        write_decimal128(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// `coefficient` times ten to the power of `exponent`.
    fn finite(coefficient: u128, exponent: i32) -> String {
        let biased = u128::try_from(exponent + 6176).unwrap();
        text((coefficient | (biased << 113)).to_le_bytes())
    }

    #[test]
    fn notation_follows_the_specification() {
        assert_eq!(finite(0, 0), "0");
        assert_eq!(finite(12345, 0), "12345");
        assert_eq!(finite(12345, -2), "123.45");
        assert_eq!(finite(12345, -5), "0.12345");
        assert_eq!(finite(12345, -7), "0.0012345");
        assert_eq!(finite(1, -6), "0.000001");
        assert_eq!(finite(1, -7), "1E-7");
        assert_eq!(finite(12, -8), "1.2E-7");
        assert_eq!(finite(0, -6), "0.000000");
        assert_eq!(finite(0, -7), "0E-7");
        assert_eq!(finite(0, 1), "0E+1");
        assert_eq!(finite(1, 3), "1E+3");
        assert_eq!(finite(105, 1), "1.05E+3");
    }

    #[test]
    fn limits() {
        assert_eq!(
            finite(MAX_COEFFICIENT, 6111),
            "9.999999999999999999999999999999999E+6144"
        );
        assert_eq!(finite(1, -6176), "1E-6176");
        assert_eq!(finite(MAX_COEFFICIENT + 1, 0), "0");
        assert_eq!(
            finite(MAX_COEFFICIENT, -33),
            format!("9.{}", "9".repeat(33))
        );
    }

    #[test]
    fn special_values() {
        let special = |top: u8| {
            let mut bytes = [0; 16];
            bytes[15] = top;
            text(bytes)
        };
        assert_eq!(special(0x78), "Infinity");
        assert_eq!(special(0xF8), "-Infinity");
        assert_eq!(special(0x7C), "NaN");
        assert_eq!(special(0x7E), "NaN");
        assert_eq!(special(0xFC), "NaN");
        assert_eq!(special(0xB0), "-0E-32");
    }

    proptest! {
        #[test]
        fn any_bits_give_the_text_of_another_implementation(bits: u128) {
            let bytes = bits.to_le_bytes();
            prop_assert_eq!(text(bytes), Decimal128::from_bytes(bytes).to_string());
        }

        #[test]
        fn usual_numbers_round_trip(
            coefficient in 0..=MAX_COEFFICIENT,
            digits in 0_u32..=34,
            exponent in -40_i32..10,
        ) {
            let coefficient = coefficient % 10_u128.pow(digits);
            let biased = u128::try_from(exponent + 6176).unwrap();
            let bytes = (coefficient | (biased << 113)).to_le_bytes();
            prop_assert_eq!(text(bytes).parse::<Decimal128>().unwrap().bytes(), bytes);
        }
    }
}
