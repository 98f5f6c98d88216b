package conformance

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"time"
)

// every is how often the counter speaks when nothing fails.
const every = 30 * time.Second

// outcome is the line that ends a spec in ginkgo's verbose output.
var outcome = regexp.MustCompile(`^[SP•]*(•|S) (?:\[(FAILED|TIMEDOUT|PANICKED!|INTERRUPTED|ABORTED|SKIPPED)\] )?\[\d`)

// counter reads ginkgo's output and says how far it is.
type counter struct {
	out          io.Writer
	total        int
	started      time.Time
	done, failed int
	said         time.Time
	rest         []byte
	// naming says that the next line is the name of a spec that failed.
	naming bool
}

func (c *counter) Write(p []byte) (int, error) {
	c.rest = append(c.rest, p...)
	for {
		line, rest, found := bytes.Cut(c.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		c.line(string(line))
		c.rest = rest
	}
}

func (c *counter) line(line string) {
	if c.naming {
		fmt.Fprintf(c.out, "     failed: %s\n", line)
		c.naming = false
	}
	found := outcome.FindStringSubmatch(line)
	if found == nil {
		return
	}
	c.done++
	if found[2] != "" && found[2] != "SKIPPED" {
		c.failed++
		c.naming = true
	}
	if c.done == c.total || time.Since(c.said) >= every {
		c.said = time.Now()
		fmt.Fprintf(c.out, "     %d of %d specs done, %d failed, %s\n", c.done, c.total, c.failed, time.Since(c.started).Round(time.Second))
	}
}
