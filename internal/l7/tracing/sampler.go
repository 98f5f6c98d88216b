package tracing

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Sampler decides which traces are recorded.
type Sampler struct {
	// bound is how many of 2^63 traces are.
	bound uint64
	// parent: what the client says goes before that.
	parent bool
}

// Samplers are the names of samplers, those of OTEL_TRACES_SAMPLER.
const Samplers = "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off and parentbased_traceidratio"

// ParseSampler returns a Sampler by its name. The ratio, from 0 to 1, is for those of
// traceidratio. Errors say what to correct.
func ParseSampler(name string, ratio float64) (*Sampler, error) {
	if !(ratio >= 0 && ratio <= 1) {
		return nil, fmt.Errorf("ratio %v is not from 0 to 1", ratio)
	}
	root, parent := strings.CutPrefix(name, "parentbased_")
	switch root {
	case "always_on":
		ratio = 1
	case "always_off":
		ratio = 0
	case "traceidratio":
	default:
		return nil, fmt.Errorf("sampler %q is none of %s", name, Samplers)
	}
	return &Sampler{bound: uint64(ratio * (1 << 63)), parent: parent}, nil
}

// samples decides by the trace's ID, as OpenTelemetry's TraceIDRatioBased does, so that
// all who see the trace decide alike.
func (s *Sampler) samples(trace *TraceID, hasParent bool, client said) bool {
	if s.parent && client != saidNothing && (hasParent || client == saidNo) {
		return client == saidYes
	}
	return binary.BigEndian.Uint64(trace[8:])>>1 < s.bound
}
