package accesslog

import "unicode/utf8"

// maxValue is how many bytes of a text of a client are written.
const maxValue = 4096

const hexDigits = "0123456789abcdef"

// appendJSON appends a text as it is within the quotes of JSON. What is not UTF-8 becomes
// U+FFFD.
func appendJSON(dst []byte, s string) []byte {
	s = cut(s)
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < 0x7f {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			// U+2028 and U+2029 end lines for some who read them; U+0080 to U+009F are control
			// characters.
			if r, size = utf8.DecodeRuneInString(s[i:]); r > 0x9f && r != 0x2028 && r != 0x2029 && (r != utf8.RuneError || size > 1) {
				i += size
				continue
			}
			dst = append(dst, s[from:i]...)
			dst = append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
		} else {
			dst = append(dst, s[from:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
		}
		i += size
		from = i
	}
	return append(dst, s[from:]...)
}

// appendHex appends a text as nginx does by default: quotes, backslashes and what is not
// visible ASCII as \xXX.
func appendHex(dst []byte, s string) []byte {
	s = cut(s)
	from := 0
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > 0x7e || c == '"' || c == '\\' {
			dst = append(dst, s[from:i]...)
			dst = append(dst, '\\', 'x', upper(c>>4), upper(c&15))
			from = i + 1
		}
	}
	return append(dst, s[from:]...)
}

func upper(digit byte) byte { return "0123456789ABCDEF"[digit] }

// cut returns the beginning of a text that is long.
func cut(s string) string {
	if len(s) <= maxValue {
		return s
	}
	return s[:maxValue]
}
