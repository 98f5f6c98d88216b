package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-net/fairlead/internal/dns/kernel"
)

// fastPath is the part of the server that is in the kernel, if there is one.
type fastPath struct {
	mu sync.Mutex
	// begun is set from Start to Close.
	begun  bool
	kernel *kernel.Plane
	// stop ends what goes on for kernel, which advertises maxUDP.
	stop   context.CancelFunc
	maxUDP int
	// counts are the last that could be read, with those of programs before.
	counts, before kernel.Counts
	// problem says why there is none, or why it answers nothing.
	problem error
}

// startKernel lets the kernel answer what it can, if that is wanted. If it cannot,
// Describe says why, and the server answers everything itself.
func (p *Plane) startKernel() {
	if !p.config.KernelFastPath {
		return
	}
	p.fast.mu.Lock()
	defer p.fast.mu.Unlock()
	p.fast.begun = true
	p.runKernel()
}

func (p *Plane) runKernel() {
	f := &p.fast
	if f.problem = p.loadKernel(); f.problem != nil {
		p.config.Log.Warn("the kernel does not answer DNS queries, this process answers them all", "error", f.problem)
		return
	}
	var ctx context.Context
	k := f.kernel
	ctx, f.stop = context.WithCancel(p.ctx)
	p.background.Go(func() { k.Run(ctx) })
}

// pauseKernel leaves all queries to the sockets before Settings count that the kernel
// does not answer by.
func (p *Plane) pauseKernel(with *Settings) {
	f := &p.fast
	f.mu.Lock()
	defer f.mu.Unlock()
	if !with.plain || with.autopath || with.maxUDP != f.maxUDP {
		f.end(p.config.Log)
	}
}

// resumeKernel lets the kernel answer by the Settings in force, if it does not and can.
func (p *Plane) resumeKernel() {
	p.fast.mu.Lock()
	defer p.fast.mu.Unlock()
	if p.fast.begun && p.fast.kernel == nil {
		p.runKernel()
	}
}

func (p *Plane) loadKernel() error {
	now := p.live.Load()
	if !now.plain {
		return errors.New("server blocks of the Corefile make rules for queries, which only this process knows")
	}
	if now.autopath {
		return errors.New("dns.autopath looks further where a name does not exist, which only this process can")
	}
	k, err := kernel.New(kernel.Config{Listen: p.Addresses(), MaxUDP: now.maxUDP, Recursive: func() bool { return p.live.Load().forwarder.Configured() }, Log: p.config.Log})
	if err != nil {
		return err
	}
	if err := errors.Join(k.Apply(p.live.Load().table), k.Start()); err != nil {
		return errors.Join(err, k.Close())
	}
	p.fast.kernel, p.fast.maxUDP = k, now.maxUDP
	return nil
}

// tellKernel gives the kernel the Table in use.
func (p *Plane) tellKernel() {
	f := &p.fast
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kernel == nil {
		return
	}
	if f.problem = f.kernel.Apply(p.live.Load().table); f.problem != nil {
		p.config.Log.Error("the kernel does not take the names of the cluster, this process answers all queries from now on", "error", f.problem)
		f.end(p.config.Log)
	}
}

// closeKernel leaves all further queries to the sockets.
func (p *Plane) closeKernel() {
	f := &p.fast
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun = false
	f.end(p.config.Log)
}

func (f *fastPath) end(log *slog.Logger) {
	if f.kernel == nil {
		return
	}
	f.read()
	f.before = f.counts
	f.stop()
	if err := f.kernel.Close(); err != nil {
		log.Warn("the kernel's part of the DNS server does not end as it should", "error", err)
	}
	f.kernel = nil
}

// read brings counts up to date.
func (f *fastPath) read() {
	if f.kernel == nil {
		return
	}
	if counts, err := f.kernel.Counts(); err == nil {
		f.counts = f.before.Plus(counts)
	}
}

func (f *fastPath) describe() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	if f.problem != nil {
		lines = append(lines, "the kernel answers no queries: "+f.problem.Error())
	}
	if f.kernel != nil {
		lines = append(lines, f.kernel.Describe()...)
	}
	return lines
}

// count adds what the kernel has answered to a tally. How long that took nobody
// measures; it is less than the first bound, and counts as nothing.
func (f *fastPath) count(t *tally) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read()
	c := &f.counts
	for family := range c.Requests {
		t.requests[overUDP][family][typeIndex(1)].Add(c.Requests[family][0])
		t.requests[overUDP][family][typeIndex(28)].Add(c.Requests[family][1])
	}
	t.responses[fromTable][0].Add(c.Answered)
	t.responses[fromTable][3].Add(c.Missing)
	t.duration.counts[0].Add(c.Answered + c.Missing)
	const millionths = 1_000_000
	for i := range c.Received {
		t.received[overUDP].counts[i].Add(c.Received[i])
		t.sent[overUDP].counts[i].Add(c.Sent[i])
	}
	t.received[overUDP].sum.Add(c.ReceivedBytes * millionths)
	t.sent[overUDP].sum.Add(c.SentBytes * millionths)
}

// kernelMetrics says how much of the queries the kernel answers.
type kernelMetrics struct {
	fast              *fastPath
	responses, passed *prometheus.Desc
}

func newKernelMetrics(f *fastPath) *kernelMetrics {
	return &kernelMetrics{
		fast:      f,
		responses: prometheus.NewDesc("fairlead_dns_kernel_responses_total", "Replies that the kernel sent; they are among coredns_dns_responses_total.", []string{"rcode"}, nil),
		passed:    prometheus.NewDesc("fairlead_dns_kernel_passed_total", "Queries over UDP that the kernel left to the process.", []string{"reason"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *kernelMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.responses
	out <- m.passed
}

// Collect implements prometheus.Collector.
func (m *kernelMetrics) Collect(out chan<- prometheus.Metric) {
	m.fast.mu.Lock()
	m.fast.read()
	c := m.fast.counts
	m.fast.mu.Unlock()
	counter := func(d *prometheus.Desc, value uint64, label string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), label)
	}
	counter(m.responses, c.Answered, "NOERROR")
	counter(m.responses, c.Missing, "NXDOMAIN")
	for i, reason := range kernel.Reasons() {
		counter(m.passed, c.Passed[i], reason)
	}
}
