// Command hostile is a client that means harm: it sends what a server must bear, and says
// how that ended it.
//
// In: an address of a gateway, a Host, a way. Out: one line of JSON. What it sends is
// bounded in number and time; it ends by itself.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

// report is what is printed at the end.
type report struct {
	// Sent are the connections, fields or frames, by what the way sends.
	Sent int `json:"sent"`
	// Status is that of the answer, if there was one.
	Status int `json:"status"`
	// Closed are the connections that the server ended.
	Closed int `json:"closed"`
	// GoAway is the reason by which HTTP/2 ended.
	GoAway string `json:"goAway,omitempty"`
}

// attack is where to send.
type attack struct{ address, host string }

func main() {
	var a attack
	flag.StringVar(&a.address, "connect", "", "HOST:PORT of a server of HTTP without TLS")
	flag.StringVar(&a.host, "host", "", "the Host to ask for")
	way := flag.String("way", "", "header (1 MB of it), slow (headers a byte a second), reset (HTTP/2 streams that are reset at once) or continuation (a header list of HTTP/2 that never ends)")
	count := flag.Int("count", 50, "how many connections are slow; how many streams or frames there are at most")
	duration := flag.Duration("duration", 10*time.Second, "how long")
	flag.Parse()
	ways := map[string]func(context.Context, int) (report, error){"header": a.header, "slow": a.slow, "reset": a.reset, "continuation": a.continuation}
	run := ways[*way]
	if a.address == "" || run == nil || *count < 1 || *count > 1e6 || *duration > time.Minute {
		fmt.Fprintln(os.Stderr, "hostile: needs --connect HOST:PORT, one of the --way that there are, a --count from 1 to 1000000, a duration of at most 1m")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *duration)
	defer cancel()
	r, err := run(ctx, *count)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
}
