package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/proxy"
)

func (w *world) startFairlead(p *peer, routes int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return w.start(p, self, "fairlead", "-routes="+strconv.Itoa(routes), "-plain="+p.plain.String(), "-tls="+p.tls.String(),
		"-certificate="+w.path(certificateFile), "-key="+w.path(keyFile))
}

// fairleadMain is Fairlead's engine as a process of its own, with the Table that its
// agent would make of the Ingresses.
func fairleadMain(args []string) error {
	var routes int
	var plain, secure netip.AddrPort
	var certificateFile, keyFile string
	flags := flag.NewFlagSet("fairlead", flag.ContinueOnError)
	flags.IntVar(&routes, "routes", 1, "")
	flags.TextVar(&plain, "plain", netip.AddrPort{}, "")
	flags.TextVar(&secure, "tls", netip.AddrPort{}, "")
	flags.StringVar(&certificateFile, "certificate", "", "")
	flags.StringVar(&keyFile, "key", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	certificate, err := tls.LoadX509KeyPair(certificateFile, keyFile)
	if err != nil {
		return err
	}
	state, _ := desired.Build(objects(routes), desired.Node{}, nil)
	table, reasons := l7.Compile(state, l7.Table{}, l7.Config{HTTPPort: plain.Port(), HTTPSPort: secure.Port()})
	for _, r := range reasons {
		fmt.Fprintln(os.Stderr, r)
	}
	engine, err := proxy.New(proxy.Config{
		Address: plain.Addr(), MaxConnections: maxSockets, MaxClientConnections: maxSockets, MaxIdle: 2 * underWay, IdleTimeout: time.Hour, UpstreamIdleTimeout: time.Hour,
	})
	if err != nil {
		return err
	}
	engine.SetCertificates(proxy.Certificates{l7.CertificateID(secretName): &certificate})
	if err := engine.Start(context.Background()); err != nil {
		return err
	}
	if err := engine.Apply(context.Background(), table); err != nil {
		return errors.Join(err, engine.Close())
	}
	ended, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	<-ended.Done()
	// The engine would wait for idle connections; nobody waits for their answers.
	return nil
}
