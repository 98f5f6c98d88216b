package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/dns/corefile"
	"github.com/fairlead-net/fairlead/internal/dns/rules"
	"github.com/fairlead-net/fairlead/internal/dns/server"
)

// maxMistakes is how many mistakes of a Corefile are named at once.
const maxMistakes = 5

// followed is a configuration with what a Corefile says.
type followed struct {
	config config.Config
	blocks []server.Block
	// endpoints are where health, readiness and metrics are served, beside where they are
	// without a Corefile.
	endpoints []endpoint
	// problems are what of the Corefile has no effect, each with its line.
	problems []string
	// read is all that it was made of: the Corefile and the files it names. texts are the
	// same one by one, nil unless they say what the configuration is.
	read  string
	texts *texts
}

// inForce tells that a Corefile says what the configuration is.
func (f *followed) inForce() bool { return f.texts != nil }

// endpoint is a path that a directive wants served at an address.
type endpoint struct {
	path string
	at   netip.AddrPort
}

// endpoints returns those of a server block.
func endpoints(s corefile.Server) []endpoint {
	var all []endpoint
	for _, d := range s.Directives {
		path, text := "", ""
		switch v := d.Setting.(type) {
		case corefile.Health:
			path, text = "/health", v.Address
		case corefile.Ready:
			path, text = "/ready", v.Address
		case corefile.Prometheus:
			path, text = "/metrics", v.Address
		}
		if at, ok := corefile.Endpoint(text); ok {
			all = append(all, endpoint{path, at})
		}
	}
	return all
}

// follow reads the Corefile that a configuration names. Without one, or if there is
// no such file, the configuration is as it was. An error means that the Corefile is
// not usable, and names the line; read is set even then.
func follow(c config.Config) (followed, error) {
	if c.DNS.Corefile == "" {
		return followed{config: c}, nil
	}
	return followFrom(c, onDisk(c.DNS.Corefile))
}

// followFrom does so with files that may be elsewhere.
func followFrom(c config.Config, from files) (followed, error) {
	f := followed{config: c}
	source, err := from.corefile()
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	kept := newTexts(source)
	from = kept.note(from)
	file, problem := corefile.Parse(source, corefile.Surroundings{Env: os.LookupEnv, Files: from.beside})
	if problem != nil {
		f.read = kept.all.String()
		return f, problem
	}
	said, problems := corefile.Read(file)
	err = f.take(said, problems, func(name string) ([]byte, error) {
		source, err := from.named(name)
		return []byte(source.Text), err
	})
	f.read = kept.all.String()
	if err != nil {
		f.config, f.blocks, f.endpoints = c, nil, nil
		return f, err
	}
	f.texts = kept
	return f, nil
}

// take puts into the configuration what a Corefile says, and notes what has no
// effect. What CoreDNS would refuse too, or do not at all like Fairlead, is an error.
func (f *followed) take(said corefile.Config, problems []corefile.Problem, files rules.Files) error {
	var wrong []error
	for _, p := range append(problems, Unfollowed(said, files)...) {
		if p.Kind == corefile.Unsupported {
			f.problems = append(f.problems, p.Error())
		} else if len(wrong) < maxMistakes {
			wrong = append(wrong, p)
		}
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	// What the server would refuse to begin with must not end a process that serves.
	if err := f.settle(said); err != nil {
		return err
	}
	withCluster := false
	for _, s := range said.Servers {
		withCluster = withCluster || s.Cluster()
	}
	for _, s := range said.Servers {
		r, err := rules.New(s, files)
		if err != nil {
			return err
		}
		for _, e := range endpoints(s) {
			if !slices.Contains(f.endpoints, e) {
				f.endpoints = append(f.endpoints, e)
			}
		}
		for _, k := range s.Keys {
			if k.Transport == "dns" {
				// A Corefile without any kubernetes is one for caches on nodes; this server
				// is the cluster's all the same.
				f.blocks = append(f.blocks, server.Block{Zone: k.Zone, Rules: r, WithoutCluster: withCluster && !s.Cluster()})
			}
		}
	}
	return nil
}

// Unfollowed says which directives keep a Corefile from being followed that CoreDNS would
// take.
func Unfollowed(said corefile.Config, files rules.Files) []corefile.Problem {
	var all []corefile.Problem
	for _, s := range said.Servers {
		for _, d := range s.Directives {
			if d.Ignored && d.Setting == nil {
				all = append(all, corefile.Problem{Position: d.Position, Kind: corefile.Mistake, Message: d.Text + ": what depends on this directive cannot be told, so the file is not followed with it; remove it"})
			}
		}
		var problem rules.Problem
		if _, err := rules.New(s, files); errors.As(err, &problem) {
			all = append(all, corefile.Problem{Position: problem.Position, Kind: corefile.Mistake, Message: problem.Why.Error()})
		}
	}
	return all
}

// CheckCorefile returns what of a Corefile's settings the server would refuse to begin
// with, or nil.
func CheckCorefile(said corefile.Config, own config.Config) error {
	f := followed{config: own}
	return f.settle(said)
}

// settle puts the settings into the configuration, if the server can begin with it.
func (f *followed) settle(said corefile.Config) error {
	next, err := f.overlay(said.Settings())
	if err != nil {
		return err
	}
	if _, err := DNSConfig(next).Complete(); err != nil {
		return err
	}
	if err := forwarding(next.DNS).Check(); err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	f.config = next
	return nil
}

// overlay returns the configuration with settings in the place of its own. Where the
// server listens, which Service leads to it, and for what the chart gives rights to the
// process, stays as it is.
func (f *followed) overlay(settings corefile.Settings) (config.Config, error) {
	own := f.config
	base := own
	base.DNS = config.Default().DNS
	base.DNS.ResolvConf = ""
	settings.DNS.Listen = nil
	if settings.DNS.Pods == config.PodsVerified && own.DNS.Pods != config.PodsVerified {
		settings.DNS.Pods, settings.DNS.Autopath = own.DNS.Pods, false
		f.problems = append(f.problems, "pods verified: needs config.dns.pods: verified in the chart's values, which gives the right to watch pods")
	}
	if len(settings.DNS.MulticlusterZones) > 0 && len(own.DNS.MulticlusterZones) == 0 {
		settings.DNS.MulticlusterZones = nil
		f.problems = append(f.problems, "multicluster: needs config.dns.multiclusterZones in the chart's values, which gives the right to watch ServiceImports")
	}
	content, err := yaml.Marshal(settings)
	if err != nil {
		return own, err
	}
	next, err := base.With(content)
	if err != nil {
		return own, fmt.Errorf("what it says is not possible here: %w", err)
	}
	next.DNS.Listen, next.DNS.TLS, next.DNS.Service, next.DNS.Corefile = own.DNS.Listen, own.DNS.TLS, own.DNS.Service, own.DNS.Corefile
	next.DNS.HTTPS = own.DNS.HTTPS
	next.DNS.CountNames, next.DNS.NodeLocal = own.DNS.CountNames, own.DNS.NodeLocal
	next.DNS.KernelFastPath = own.DNS.KernelFastPath
	return next, nil
}
