package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/lab/build"
	"github.com/fairlead-net/fairlead/lab/config"
	"github.com/fairlead-net/fairlead/lab/conformance"
	"github.com/fairlead-net/fairlead/lab/image"
	"github.com/fairlead-net/fairlead/lab/machine"
	"github.com/fairlead-net/fairlead/lab/plan"
)

// zones is how many zones the suite wants nodes in.
const zones = 3

// ErrNonconformant says that specs failed.
var ErrNonconformant = errors.New("not conformant")

// Suite is one run of Kubernetes' own end-to-end suite.
type Suite struct {
	// Plane is what resolves Services: ebpf or nftables.
	Plane string
	// Focus and Skip narrow the specs; nil for all. A narrowed run's report stays in .lab.
	Focus, Skip *regexp.Regexp
	// Procs is how many specs run at once.
	Procs int
	Limit time.Duration

	cluster   *Cluster
	started   time.Time
	selection conformance.Selection
	images    image.Image
	run       conformance.Run
}

// BuildSuite builds the suite and says what of it would run on this lab.
func (c *Cluster) BuildSuite(ctx context.Context, s *Suite) (conformance.Selection, error) {
	s.cluster = c
	err := c.perform(ctx, []Action{
		{"Build Kubernetes' end-to-end suite (some minutes the first time)", s.build},
		{"Select the specs", s.choose},
	})
	return s.selection, err
}

// Conformance runs the suite against the running lab and writes the report.
func (c *Cluster) Conformance(ctx context.Context, s *Suite) error {
	if _, err := c.BuildSuite(ctx, s); err != nil {
		return err
	}
	s.started = time.Now()
	if err := c.perform(ctx, []Action{
		{"Build the suite's images", s.buildImages},
		{"Load them into the nodes", s.loadImages},
		{"Label the nodes with zones", s.labelZones},
		{"Let Fairlead resolve Services by " + s.Plane, s.setPlane},
		{"Give it addresses for LoadBalancers", s.addAddresses},
	}); err != nil {
		return err
	}
	err := c.perform(ctx, []Action{
		{fmt.Sprintf("Run %d specs, %d at a time", len(s.selection.Parallel), s.Procs), s.runParallel},
		{fmt.Sprintf("Run %d specs that need the cluster for themselves", len(s.selection.Serial)), s.runSerial},
	})
	// Also after an interrupt: the lab is to be what it was.
	restore, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := errors.Join(err, c.perform(restore, []Action{{"Put the lab back as it was", s.restore}})); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("no report is written: %w", ctx.Err())
	}
	return s.report()
}

func (s *Suite) build(ctx context.Context) error {
	return s.cluster.compile(ctx, build.Conformance(s.cluster.Layout))
}

func (s *Suite) choose(ctx context.Context) error {
	list, err := s.ask(ctx, "--list-tests")
	if err != nil {
		return err
	}
	exclusions, err := conformance.Exclusions()
	if err != nil {
		return err
	}
	s.selection, err = conformance.Select(conformance.Specs(list), exclusions, s.cluster.has(ctx), s.Focus, s.Skip)
	return err
}

// ask has the suite say something about itself.
func (s *Suite) ask(ctx context.Context, flag string) (string, error) {
	out, err := exec.CommandContext(ctx, s.cluster.Layout.Bin("e2e.test"), flag).Output()
	if err != nil {
		return "", fmt.Errorf("e2e.test %s: %w", flag, err)
	}
	return string(out), nil
}

// has says which things this lab has of those that exclusions depend on.
func (c *Cluster) has(ctx context.Context) map[string]bool {
	has := map[string]bool{}
	if fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP); err == nil {
		has["sctp"] = true
		_ = unix.Close(fd)
	}
	size, err := c.kubectl(ctx, nil, "get", "nodes", "-o", "jsonpath={.items[*].status.allocatable.ephemeral-storage}")
	has["ephemeral-storage"] = err == nil && size != ""
	return has
}

func (s *Suite) buildImages(ctx context.Context) error {
	listed, err := s.ask(ctx, "--list-images")
	if err == nil {
		s.images, err = s.cluster.suiteImages(ctx, listed)
	}
	return err
}

func (s *Suite) loadImages(ctx context.Context) error {
	return s.cluster.everyNode(func(node string) error { return s.cluster.loadOnce(ctx, node, s.images) })
}

// labelZones spreads the workers over zones: specs about topology skip themselves elsewhere.
func (s *Suite) labelZones(ctx context.Context) error {
	for i, n := range s.cluster.workers() {
		zone := fmt.Sprintf("topology.kubernetes.io/zone=zone-%d", i%zones)
		if _, err := s.cluster.kubectl(ctx, nil, "label", "--overwrite", "node", n.Name, zone); err != nil {
			return err
		}
	}
	if workers := len(s.cluster.workers()); workers < 2*zones {
		s.cluster.note("%d workers: some specs skip themselves; with %d (lab up --nodes %d) all run", workers, 2*zones, 2*zones+1)
	}
	return nil
}

// workers are the nodes that take pods.
func (c *Cluster) workers() []plan.Node {
	if len(c.Plan.Nodes) == 1 {
		return c.Plan.Nodes
	}
	return c.Plan.Nodes[1:]
}

func (s *Suite) setPlane(ctx context.Context) error {
	known, err := s.cluster.setDataplane(ctx, s.Plane)
	s.run.Plane = s.Plane
	if err == nil && !known {
		s.cluster.note("the installed Fairlead has no value config.lb.serviceDataplane: what it has by default is tested")
		s.run.Plane = "default"
	}
	return err
}

func (s *Suite) addAddresses(ctx context.Context) error {
	return s.cluster.apply(ctx, conformance.Addresses)
}

func (s *Suite) runParallel(ctx context.Context) error {
	return s.pass(ctx, "parallel", s.selection.Parallel, s.Procs)
}

func (s *Suite) runSerial(ctx context.Context) error {
	return s.pass(ctx, "serial", s.selection.Serial, 1)
}

// pass runs specs outside the cluster, behind the routers: specs about the client's address want one that is
// not of the nodes' network.
func (s *Suite) pass(ctx context.Context, name string, specs []string, procs int) error {
	c := s.cluster
	pid, err := machine.PID(c.hierarchies, config.RemoteName)
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrNoLab, err)
	}
	dir := c.Layout.Dir("conformance")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder for reports: %w", err)
	}
	p := conformance.Pass{
		Ginkgo: c.Layout.Bin("ginkgo"), Suite: c.Layout.Bin("e2e.test"),
		Kubectl: c.Layout.Bin("kubectl"), Kubeconfig: c.Layout.InnerKubeconfig(),
		Enter: []string{"nsenter", "--target", strconv.Itoa(pid), "--net", "--"},
		Dir:   dir, Name: s.Plane + "-" + name, Specs: specs,
		Procs: procs, Nodes: len(c.workers()), Limit: max(s.Limit-time.Since(s.started), time.Minute).Round(time.Second),
		Progress: c.out,
	}
	results, err := p.Run(ctx)
	s.run.Results = append(s.run.Results, results...)
	return err
}

func (s *Suite) restore(ctx context.Context) error {
	_, err := s.cluster.kubectl(ctx, strings.NewReader(conformance.Addresses), "delete", "--ignore-not-found", "-f", "-")
	errs := []error{err}
	for _, n := range s.cluster.workers() {
		_, err := s.cluster.kubectl(ctx, nil, "label", "node", n.Name, "topology.kubernetes.io/zone-")
		errs = append(errs, err)
	}
	if s.run.Plane != "default" {
		_, err := s.cluster.setDataplane(ctx, "auto")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// report writes the JUnit file, and says what failed.
func (s *Suite) report() error {
	c := s.cluster
	s.run.Kubernetes, s.run.Nodes, s.run.Excluded = build.Kubernetes, len(c.workers()), s.selection.Excluded
	text, err := conformance.JUnit(s.run)
	if err != nil {
		return err
	}
	path := filepath.Join(c.Layout.Root, "docs", "conformance", "kubernetes-"+s.Plane+".xml")
	if s.Focus != nil || s.Skip != nil || s.run.Plane != s.Plane {
		path = c.Layout.Dir("conformance", "kubernetes-"+s.Plane+".xml") // not what the published file claims to be
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the folder for the report: %w", err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	conformance.Summary(c.out, s.run)
	fmt.Fprintf(c.out, "Report: %s\nLogs: %s\n", path, strings.Join([]string{
		c.Layout.Dir("conformance", s.Plane+"-parallel.log"), c.Layout.Dir("conformance", s.Plane+"-serial.log"),
	}, " "))
	if failed := len(s.run.Failures()); failed > 0 {
		return fmt.Errorf("%w: %d of %d specs failed", ErrNonconformant, failed, len(s.run.Results))
	}
	return nil
}
