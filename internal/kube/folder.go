package kube

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/fairlead-net/fairlead/internal/pmap"
)

// folderPeriod is how often a folder is looked at.
const folderPeriod = 500 * time.Millisecond

// Folder has the objects of a folder of manifests, and follows its changes. Files that
// cannot be read leave what was read before in force.
type Folder struct {
	dir     string
	nginx   bool
	log     *slog.Logger
	changed chan struct{}

	mu      sync.Mutex
	read    Manifests
	problem string
}

// NewFolder reads a folder, with the class of ingress-nginx if that is taken over. The
// error names the file and what is wrong with it.
func NewFolder(dir string, nginx bool, log *slog.Logger) (*Folder, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder; name one that holds .yaml or .json manifests", dir)
	}
	f := &Folder{dir: dir, nginx: nginx, log: log, changed: make(chan struct{}, 1)}
	m, err := ReadManifests(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("manifests in %s: %w", dir, err)
	}
	for kind, count := range m.Ignored {
		log.Info("objects of a kind that is not served", "kind", kind, "objects", count)
	}
	m.AddIngressClasses(nginx)
	f.read = m
	return f, nil
}

// Run sends what the folder has, and again whenever that changed, until ctx ends.
func (f *Folder) Run(ctx context.Context, out chan<- View) error {
	tick := time.NewTicker(folderPeriod)
	defer tick.Stop()
	for next := true; ; next = f.look() {
		if next {
			f.mu.Lock()
			view := View{Objects: f.read.Objects}
			f.mu.Unlock()
			select {
			case out <- view:
			case <-ctx.Done():
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look reads the folder again, and tells whether its objects are others now.
func (f *Folder) look() bool {
	m, err := ReadManifests(os.DirFS(f.dir))
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		problem := fmt.Sprintf("%s: %v; what was read before stays in force", f.dir, err)
		if problem != f.problem {
			f.log.Error("manifests cannot be read", "folder", f.dir, "error", err)
		}
		f.problem = problem
		return false
	}
	f.problem = ""
	m.AddIngressClasses(f.nginx)
	if !m.keep(f.read) {
		return false
	}
	f.read = m
	poke(f.changed)
	f.log.Info("manifests changed", "folder", f.dir)
	return true
}

// Health says why the objects may be out of date, or "".
func (f *Folder) Health() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.problem
}

// Want only tells that there may be others to Get: a folder's Secrets and ConfigMaps
// have all been read.
func (f *Folder) Want(map[DataName]bool) { poke(f.changed) }

// Get returns the folder's Secrets and ConfigMaps.
func (f *Folder) Get() (pmap.Map[DataName, *Data], bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read.Data, true
}

// Changed tells that Get may return something else.
func (f *Folder) Changed() <-chan struct{} { return f.changed }

// keep takes from before every object that is the same, and tells whether any is not.
func (m *Manifests) keep(before Manifests) (changed bool) {
	o, old := &m.Objects, before.Objects
	for _, differs := range []bool{
		same(&o.Services, old.Services), same(&o.Slices, old.Slices), same(&o.Namespaces, old.Namespaces),
		same(&o.ServiceCIDRs, old.ServiceCIDRs), same(&o.Pods, old.Pods), same(&o.Imports, old.Imports),
		same(&o.Ingresses, old.Ingresses), same(&o.IngressClasses, old.IngressClasses), same(&o.ConfigMaps, old.ConfigMaps), same(&m.Data, before.Data),
	} {
		changed = changed || differs
	}
	return changed
}

// same puts the value of before in the place of each one that is equal to it, and tells
// whether the rest differs.
func same[K, V comparable](now *pmap.Map[K, V], before pmap.Map[K, V]) (differs bool) {
	edit := now.Edit()
	for change := range pmap.Diff(before, *now) {
		if change.HasOld && change.HasNew && reflect.DeepEqual(change.Old, change.New) {
			edit.Set(change.Key, change.Old)
			continue
		}
		differs = true
	}
	*now = edit.Map()
	return differs
}
