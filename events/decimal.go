package events

import (
	"fmt"
	"math"
)

var pow10 = [MaxScale + 1]int64{1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// ParseQuantity reads digits[.digits] with at most scale decimals as an int64
// of 10^-scale units. It is exact: no float, no exponent, no sign, no rounding.
// Errors are *Error with code bad_quantity and cause "negative", "exponent",
// "too_exact", "overflow" or "not_a_number".
func ParseQuantity(s string, scale int) (int64, error) {
	v, cause := parseDecimal(s, scale)
	if cause != "" {
		return 0, badQuantity(cause, "quantity", s, scale)
	}
	return v, nil
}

// parseDecimal is ParseQuantity with the bare cause; empty: none.
func parseDecimal(s string, scale int) (v int64, cause string) {
	i := 0
	for ; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			break
		}
		if v > (math.MaxInt64-int64(c))/10 {
			return 0, overflowOr(s[i:])
		}
		v = v*10 + int64(c)
	}
	if i == 0 {
		if s != "" && s[0] == '-' && wholeNumber(s[1:]) {
			return 0, "negative"
		}
		return 0, "not_a_number"
	}
	decimals := 0
	if i < len(s) && s[i] == '.' {
		i++
		for ; i < len(s); i++ {
			c := s[i] - '0'
			if c > 9 {
				break
			}
			decimals++
			if decimals > scale {
				if !wholeNumber(s) {
					return 0, exponentOr(s)
				}
				return 0, "too_exact"
			}
			if v > (math.MaxInt64-int64(c))/10 {
				return 0, overflowOr(s[i:])
			}
			v = v*10 + int64(c)
		}
		if decimals == 0 {
			return 0, "not_a_number"
		}
	}
	if i < len(s) {
		return 0, exponentOr(s)
	}
	if scale -= decimals; v > math.MaxInt64/pow10[scale] {
		return 0, "overflow"
	}
	return v * pow10[scale], ""
}

// wholeNumber reports whether s is digits[.digits].
func wholeNumber(s string) bool {
	dots, digits := 0, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] >= '0' && s[i] <= '9':
			digits++
		case s[i] == '.' && dots == 0 && digits > 0:
			dots++
		default:
			return false
		}
	}
	return digits > 0 && s[len(s)-1] != '.'
}

// overflowOr names the cause of a number whose rest, from a digit on, no longer
// fits: an exponent behind it is the better reason.
func overflowOr(rest string) string {
	if wholeNumber(rest) {
		return "overflow"
	}
	return exponentOr("0" + rest)
}

func exponentOr(s string) string {
	for i := 1; i < len(s); i++ {
		if s[i] == 'e' || s[i] == 'E' {
			return "exponent"
		}
	}
	return "not_a_number"
}

// badQuantity explains the cause that parseDecimal gave for s.
func badQuantity(cause, field, s string, scale int) *Error {
	e := &Error{Code: CodeBadQuantity, Cause: cause, Field: field}
	switch cause {
	case "negative":
		e.Message = fmt.Sprintf("quantity %s is below zero", shown(s))
		e.Hint = "send a quantity of 0 or more; take a use back with kind \"void\" or \"amend\""
	case "exponent":
		e.Message = fmt.Sprintf("quantity %s has an exponent", shown(s))
		e.Hint = "write all digits, as a number or as a string: 1000, \"0.25\""
	case "too_exact":
		e.Message = fmt.Sprintf("quantity %s has more than the %d decimals of its meter", shown(s), scale)
		e.Hint = "round it in the application, or declare a new meter with a larger scale"
	case "overflow":
		e.Message = fmt.Sprintf("quantity %s is beyond %s", shown(s), maxQuantity(scale))
		e.Hint = "send several events, or declare a new meter with a larger unit or a smaller scale"
	case "missing":
		e.Message = "event has no quantity"
		e.Hint = "send the quantity as a number or as a string of digits"
	default:
		e.Message = fmt.Sprintf("quantity %s is not a decimal number", shown(s))
		e.Hint = "send digits with an optional fraction, as a number or as a string: 12, \"0.25\""
	}
	return e
}

// maxQuantity spells 2^63-1 at a scale.
func maxQuantity(scale int) string {
	if scale == 0 {
		return "9223372036854775807"
	}
	return fmt.Sprintf("%d.%0*d", math.MaxInt64/pow10[scale], scale, math.MaxInt64%pow10[scale])
}
