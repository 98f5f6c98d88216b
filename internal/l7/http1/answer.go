package http1

import "strconv"

// Answer is how a response goes to the client.
type Answer struct {
	// Framing and Length are of its body; NoBody leaves a Content-Length as it came.
	Framing Framing
	Length  int64
	// Minor is the client's version; Close is set if nothing follows on the connection.
	Minor int
	Close bool
	// Upgrade is set for 101.
	Upgrade bool
}

// AppendResponse appends the header of a response as the client gets it: written
// anew, without what was for one hop only.
func AppendResponse(dst []byte, r *Response, a Answer) []byte {
	dst = AppendStatus(dst, r.Status, r.Reason)
	for i := range r.Fields {
		if f := &r.Fields[i]; !f.hop {
			dst = appendLine(dst, f.Name, f.Value)
		}
	}
	switch {
	case a.Framing == ByLength:
		dst = appendLength(dst, a.Length)
	case a.Framing == ByChunks:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case a.Framing == NoBody && r.Length >= 0 && r.Status >= 200 && r.Status != 204:
		// Of an empty body, or of the one that HEAD asks about; RFC 9110, section 8.6
		// forbids it with the others.
		dst = appendLength(dst, r.Length)
	}
	if a.Upgrade {
		dst = appendLine(dst, "Upgrade", r.upgrade)
		return append(dst, "Connection: upgrade\r\n\r\n"...)
	}
	if r.Status < 200 {
		return append(dst, "\r\n"...)
	}
	return append(AppendPersistence(dst, a.Minor, a.Close), "\r\n"...)
}

// AppendStatus appends the first line of a response.
func AppendStatus(dst []byte, status int, reason []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, reason...)
	return append(dst, "\r\n"...)
}

// AppendPersistence appends what a client has to be told about the connection: that
// it closes, or, to one that assumes so, that it does not.
func AppendPersistence(dst []byte, minor int, closes bool) []byte {
	switch {
	case closes:
		return append(dst, "Connection: close\r\n"...)
	case minor == 0:
		return append(dst, "Connection: keep-alive\r\n"...)
	}
	return dst
}

func appendLength(dst []byte, length int64) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, length, 10)
	return append(dst, "\r\n"...)
}
