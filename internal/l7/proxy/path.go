package proxy

// plain reports whether a path is normal as it is: nothing escaped, no dots as
// elements, no empty elements.
func plain(path []byte) bool {
	for i, c := range path {
		if c == '%' || (c == '/' || c == '.') && i > 0 && path[i-1] == '/' {
			return false
		}
	}
	return true
}

// normalize appends the normal form of a path that begins with a slash and whose
// escapes are well formed: decoded, without the elements . and .. (RFC 3986, section
// 5.2.4), and without empty elements but at the end.
func normalize(dst, path []byte) []byte {
	begin := len(dst)
	element := begin
	flush := func(last bool) {
		switch string(dst[element:]) {
		case "", ".":
			dst = dst[:element]
		case "..":
			dst = dst[:element]
			if element > begin+1 {
				for element--; dst[element-1] != '/'; element-- {
				}
				dst = dst[:element]
			}
		default:
			if !last {
				dst = append(dst, '/')
				element = len(dst)
			}
		}
	}
	dst = append(dst, '/')
	element = len(dst)
	for i := 1; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) {
			c = digit(path[i+1])<<4 | digit(path[i+2])
			i += 2
		}
		if c == '/' {
			flush(false)
			continue
		}
		dst = append(dst, c)
	}
	flush(true)
	return dst
}

// digit is the value of a hexadecimal digit.
func digit(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}
