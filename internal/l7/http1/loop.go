package http1

import "bytes"

const (
	// loopName is the field by which a request that comes round is known (RFC 8586).
	loopName = "cdn-loop"
	// loopID is what this program calls itself there. It is the same in all replicas: a loop
	// may go through others than the first.
	loopID = "fairlead"
)

// rounds counts this program in the value of a CDN-Loop: elements with commas between,
// each a name that parameters may follow.
func rounds(value []byte) int {
	n := 0
	for len(value) > 0 {
		var element []byte
		element, value, _ = bytes.Cut(value, []byte(","))
		name, _, _ := bytes.Cut(element, []byte(";"))
		if equalFold(trim(name), loopID) {
			n++
		}
	}
	return n
}

// AppendLoop appends the value of the CDN-Loop that an upstream gets: what the client sent
// and this program. Routes cannot change it, or else whoever writes them could make a loop
// that nothing ends.
func (r *Request) AppendLoop(dst []byte) []byte {
	for i := range r.Fields {
		if !r.loops {
			break
		}
		if f := &r.Fields[i]; !f.own && len(f.Value) > 0 && string(f.Lower) == loopName {
			dst = append(append(dst, f.Value...), ", "...)
		}
	}
	return append(dst, loopID...)
}
