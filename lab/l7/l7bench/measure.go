package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// row is one kind of load.
type row struct {
	name, what string
	task       task
	// connect makes each request a new connection.
	connect bool
}

// underWay is how many requests the load has under way.
const underWay = 64

func rows() []row {
	h1 := task{path: smallPath, size: small, connections: underWay, streams: 1}
	h64k := h1
	h64k.path, h64k.size = largePath, large
	secure := h1
	secure.protocol = "http/1.1"
	h2 := h1
	h2.protocol, h2.connections, h2.streams = "h2", 4, underWay/4
	grpc := h2
	grpc.grpc, grpc.path = true, grpcPath
	return []row{
		{name: "h1", what: "HTTP/1.1, bodies of 1 KB", task: h1},
		{name: "64k", what: "HTTP/1.1, bodies of 64 KB", task: h64k},
		{name: "tls", what: "HTTP/1.1 within TLS 1.3, bodies of 1 KB", task: secure},
		{name: "h2", what: "HTTP/2 within TLS 1.3, bodies of 1 KB", task: h2},
		{name: "grpc", what: "unary gRPC within TLS 1.3, messages of 128 bytes and 1 KB", task: grpc},
		{name: "handshake", what: "HTTP/1.1, each in a new connection with a full handshake of TLS 1.3", task: secure, connect: true},
	}
}

// wants reports whether a row is to be measured.
func (o options) wants(row string) bool {
	return o.only == "" || slices.Contains(strings.Split(o.only, ","), row)
}

// check refuses names that no row has.
func (o options) check() error {
	known := []string{"", "memory"}
	for _, row := range rows() {
		known = append(known, row.name)
	}
	for name := range strings.SplitSeq(o.only, ",") {
		if !slices.Contains(known, name) {
			return fmt.Errorf("there is no row %q; there are%s", name, strings.Join(known, " "))
		}
	}
	return nil
}

// rows are those that are to be measured.
func (o options) rows() []row {
	return slices.DeleteFunc(rows(), func(row row) bool { return !o.wants(row.name) })
}

// results are what the rounds gave, by row and proxy.
type results struct {
	perCPU, perSecond, busy, p50, p99, tenth99 map[string]series
	// lacks says why a proxy does not take part in a row.
	lacks map[string]string
}

func measure(w *world, r *report) error {
	if err := w.prepare(); err != nil {
		return err
	}
	all := &results{map[string]series{}, map[string]series{}, map[string]series{}, map[string]series{}, map[string]series{}, map[string]series{}, map[string]string{}}
	proxies, err := w.launchAll(all)
	if err != nil {
		return err
	}
	start := time.Now()
	for _, row := range w.rows() {
		for round := range w.rounds {
			say("%s, round %d, %s after the start", row.name, round+1, time.Since(start).Round(time.Second))
			if err := w.direct(all, row); err != nil {
				return fmt.Errorf("%s without a proxy: %w", row.name, err)
			}
			for _, p := range proxies {
				if all.lacks[row.name+"-"+p.name] != "" {
					continue
				}
				if err := w.round(all, row, p); err != nil {
					return fmt.Errorf("%s of %s: %w", row.name, p.name, err)
				}
			}
		}
	}
	w.close()
	all.ratios(r, w)
	all.figures(r, w)
	if !w.wants("memory") {
		return nil
	}
	return w.sizes(r)
}

// prepare starts the backend.
func (w *world) prepare() error {
	var err error
	if w.loop, err = newLoop(); err != nil {
		return err
	}
	if err := serve(w.loop, netip.AddrPortFrom(backendAddress, backendPort), netip.AddrPortFrom(backendAddress, grpcPort)); err != nil {
		return err
	}
	return w.certify()
}

// launchAll starts all proxies and asks each once in the way of every row. Fairlead
// may refuse HTTP/2, which is noted; all else is an error.
func (w *world) launchAll(all *results) ([]*peer, error) {
	var proxies []*peer
	for _, name := range w.names() {
		p, err := w.launch(name, 1)
		if err != nil {
			return nil, err
		}
		for _, row := range w.rows() {
			switch err := w.try(row, p); {
			case err == nil:
			case name == "fairlead" && errors.Is(err, errRefused):
				all.lacks[row.name+"-"+name] = "the engine does not speak it yet: " + err.Error()
			default:
				return nil, fmt.Errorf("%s of %s: %w", row.name, name, err)
			}
		}
		proxies = append(proxies, p)
	}
	return proxies, nil
}

// try asks in the way of a row once.
func (w *world) try(row row, p *peer) error {
	t := row.of(p)
	t.connections, t.streams, t.length = 1, 1, time.Millisecond
	_, err := w.run(t)
	return err
}

// of makes the task of a row for a proxy.
func (row row) of(p *peer) task {
	t := row.task
	t.host, t.address, t.used = host(0), p.plain, p.used
	if t.protocol != "" {
		t.host, t.address = secureHost, p.tls
	}
	return t
}

// round measures once as much as the proxy can, and once half of that.
func (w *world) round(all *results, row row, p *peer) error {
	t, k := row.of(p), row.name+"-"+p.name
	t.warmup, t.length = min(w.length/4, time.Second/2), w.length
	do := w.run
	if row.connect {
		do = w.handshakes
	}
	full, err := do(t)
	if err != nil {
		return err
	}
	if full.Answered == 0 || full.CPU == 0 {
		return fmt.Errorf("nothing was answered: %+v", full)
	}
	all.perCPU[k] = append(all.perCPU[k], full.perCPU())
	all.perSecond[k] = append(all.perSecond[k], full.perSecond())
	all.busy[k] = append(all.busy[k], 100*full.busy())
	say("  %-9s %6.0f a second, %6.0f per CPU-second, busy %3.0f %%, p99 %s", p.name, full.perSecond(), full.perCPU(), 100*full.busy(), full.P99)
	if row.connect {
		return nil
	}
	t.rate = full.perSecond() / 2
	half, err := do(t)
	if err != nil {
		return fmt.Errorf("at half load: %w", err)
	}
	say("  %-9s at half load p50 %s, p99 %s, of tenths %s", "", half.P50, half.P99, half.Tenth99)
	all.p50[k] = append(all.p50[k], half.P50.Seconds()*1e3)
	all.p99[k] = append(all.p99[k], half.P99.Seconds()*1e3)
	all.tenth99[k] = append(all.tenth99[k], half.Tenth99.Seconds()*1e3)
	return nil
}

// direct measures what the load and the backend can without a proxy: with one they do
// the same, so less than that is the proxy's limit. TLS the backend does not speak.
func (w *world) direct(all *results, row row) error {
	if row.task.protocol != "" {
		return nil
	}
	t := row.task
	t.host, t.address, t.used = host(0), netip.AddrPortFrom(backendAddress, backendPort), usedHere
	t.warmup, t.length = w.length/4, w.length/2
	o, err := w.run(t)
	all.perCPU[row.name+"-direct"] = append(all.perCPU[row.name+"-direct"], o.perCPU())
	return err
}

// usedHere returns the CPU time of this process.
func usedHere() (time.Duration, error) {
	var u unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// ratios compares with the better of nginx and HAProxy, which is whose median is
// higher, and HTTP/1.1 with Traefik and Caddy too.
func (all *results) ratios(r *report, w *world) {
	for _, row := range w.rows() {
		k := row.name + "-"
		better := "nginx"
		if all.perCPU[k+"haproxy"].median() > all.perCPU[k+"nginx"].median() {
			better = "haproxy"
		}
		all.ratio(r, "l7-"+row.name, row, better)
		if row.name == "h1" {
			all.ratio(r, "l7-h1-traefik", row, "traefik")
			all.ratio(r, "l7-h1-caddy", row, "caddy")
		}
	}
}

func (all *results) ratio(r *report, name string, row row, peer string) {
	k := row.name + "-"
	if why := all.lacks[k+"fairlead"]; why != "" {
		r.missing("ratio "+name, why)
		return
	}
	if len(all.perCPU[k+peer]) == 0 {
		r.missing("ratio "+name, "the program of "+peer+" was not given")
		return
	}
	r.ratio(name, all.perCPU[k+"fairlead"], all.perCPU[k+peer], row.what+", requests per CPU-second, against "+peer)
}

// figures are those of every row and proxy.
func (all *results) figures(r *report, w *world) {
	for _, row := range w.rows() {
		if direct := all.perCPU[row.name+"-direct"]; len(direct) > 0 {
			r.figure("l7-"+row.name+"-direct", direct, "requests", row.what+", per CPU-second of the load, which asks the backend without a proxy")
		}
		for _, name := range w.names() {
			k := row.name + "-" + name
			if why := all.lacks[k]; why != "" {
				r.missing("figure l7-"+k, why)
				continue
			}
			r.figure("l7-"+k, all.perCPU[k], "requests", fmt.Sprintf("%s, per CPU-second; %s a second, the processor of the proxy %s %% busy",
				row.what, digits(all.perSecond[k].median()), digits(all.busy[k].median())))
			if !row.connect {
				r.figure("l7-"+k+"-p99", all.p99[k], "ms", fmt.Sprintf("at half of that rate; the median there is %s ms", digits(all.p50[k].median())))
				r.figure("l7-"+k+"-tenth-p99", all.tenth99[k], "ms", "at half of that rate; the median of the 99th percentiles of every tenth of a second")
			}
		}
	}
}
