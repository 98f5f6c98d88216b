package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/dns/corefile"
	"github.com/fairlead-net/fairlead/internal/dns/rules"
	"github.com/fairlead-net/fairlead/internal/dns/server"
)

// maxCorefile is a byte more than the parser takes, so that it says so.
const maxCorefile = 1<<20 + 1

// maxMistakes is how many mistakes of a Corefile are named at once.
const maxMistakes = 5

// followed is a configuration with what a Corefile says.
type followed struct {
	config config.Config
	blocks []server.Block
	// problems are what of the Corefile has no effect, each with its line.
	problems []string
	// read is all that it was made of: the Corefile and the files it names. inForce
	// tells that they say what the configuration is.
	read    string
	inForce bool
}

// follow reads the Corefile that a configuration names. Without one, or if there is
// no such file, the configuration is as it was. An error means that the Corefile is
// not usable, and names the line; read is set even then.
func follow(c config.Config) (followed, error) {
	f := followed{config: c}
	if c.DNS.Corefile == "" {
		return f, nil
	}
	source, err := ReadCorefile(c.DNS.Corefile)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	var read strings.Builder
	note := func(source corefile.Source) {
		fmt.Fprintf(&read, "%s %d\n%s", source.Name, len(source.Text), source.Text)
	}
	note(source)
	beside := BesideCorefile(c.DNS.Corefile)
	file, problem := corefile.Parse(source, corefile.Surroundings{Env: os.LookupEnv, Files: func(pattern string) ([]corefile.Source, error) {
		all, err := beside(pattern)
		for _, s := range all {
			note(s)
		}
		return all, err
	}})
	if problem != nil {
		f.read = read.String()
		return f, problem
	}
	said, problems := corefile.Read(file)
	err = f.take(said, problems, func(name string) ([]byte, error) {
		source, err := ReadCorefile(filepath.Join(filepath.Dir(c.DNS.Corefile), filepath.Base(name)))
		if err == nil {
			note(source)
		}
		return []byte(source.Text), err
	})
	if f.inForce = err == nil; err != nil {
		f.config, f.blocks = c, nil
	}
	f.read = read.String()
	return f, err
}

// take puts into the configuration what a Corefile says, and notes what has no
// effect. What CoreDNS would refuse too, or do not at all like Fairlead, is an error.
func (f *followed) take(said corefile.Config, problems []corefile.Problem, files rules.Files) error {
	var wrong []error
	for _, p := range problems {
		if p.Kind == corefile.Unsupported {
			f.problems = append(f.problems, p.Error())
		} else if len(wrong) < maxMistakes {
			wrong = append(wrong, p)
		}
	}
	for _, s := range said.Servers {
		for _, d := range s.Directives {
			if d.Ignored && d.Setting == nil && len(wrong) < maxMistakes {
				wrong = append(wrong, fmt.Errorf("%s: %s: what depends on this directive cannot be told, so the file is not followed without it; remove it", d.Position, d.Text))
			}
		}
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	var err error
	if f.config, err = f.overlay(said.Settings()); err != nil {
		return err
	}
	// What the server would refuse to begin with must not end a process that serves.
	if _, err := DNSConfig(f.config).Complete(); err != nil {
		return err
	}
	if err := forwarding(f.config.DNS).Check(); err != nil {
		return fmt.Errorf("forward: %w", err)
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
		settings.DNS.Pods = own.DNS.Pods
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
	next.DNS.KernelFastPath = own.DNS.KernelFastPath
	return next, nil
}

// ReadCorefile reads a Corefile, or a file that one names, up to its limit.
func ReadCorefile(name string) (corefile.Source, error) {
	file, err := os.Open(name)
	if err != nil {
		return corefile.Source{}, err
	}
	defer func() { _ = file.Close() }() // what was read is there
	content, err := io.ReadAll(io.LimitReader(file, maxCorefile))
	return corefile.Source{Name: name, Text: string(content)}, err
}

// BesideCorefile resolves the patterns of imports, which count from the folder of
// the Corefile. Folders, pipes and the like are left out.
func BesideCorefile(name string) func(string) ([]corefile.Source, error) {
	return func(pattern string) ([]corefile.Source, error) {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(name), pattern)
		}
		names, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("%w; write for example custom/*.override", err)
		}
		var all []corefile.Source
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
				continue
			}
			source, err := ReadCorefile(name)
			if err != nil {
				return nil, err
			}
			all = append(all, source)
		}
		return all, nil
	}
}
