package conntrack

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// OnlineProcessors is where the kernel lists the processors of the machine,
// whichever of them a process may use.
const OnlineProcessors = "/sys/devices/system/cpu/online"

// Processors returns how many processors a file such as OnlineProcessors lists.
func Processors(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("counting processors: %w", err)
	}
	n, err := countList(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("counting processors in %s: %w", path, err)
	}
	return n, nil
}

// countList counts the members of a list such as 0-3,8 (lib/bitmap-str.c).
func countList(text string) (int, error) {
	n, next := 0, 0
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 16)
		last, err2 := strconv.ParseUint(to, 10, 16)
		if err != nil || err2 != nil || int(first) < next || first > last {
			return 0, fmt.Errorf("%q is no list of processors such as 0-3,8", text)
		}
		n, next = n+int(last-first)+1, int(last)+1
	}
	return n, nil
}
