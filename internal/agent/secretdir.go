package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
)

// maxSecretFile bounds a file with a Secret: what Kubernetes allows one, in base64 and
// with its names.
const maxSecretFile = 2 << 20

// secretDir has the Secrets that a process without a cluster makes, as files
// NAMESPACE/NAME.json of a directory that kubectl would take. It implements acme.Store and,
// together with the Secrets and ConfigMaps of a folder of manifests, dataSource (data).
// Only one process may use a directory.
type secretDir struct {
	dir    string
	folder dataSource

	changed chan struct{}
	mu      sync.Mutex
	made    map[desired.Name]acme.Secret
	held    dataMap
}

// openSecretDir reads a directory, which is made if there is none. The error names the
// file and what is wrong with it.
func openSecretDir(dir string, folder dataSource) (*secretDir, error) {
	d := &secretDir{dir: dir, folder: folder, changed: make(chan struct{}, 1), made: map[desired.Name]acme.Secret{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificates cannot be kept: %w", err)
	}
	// What a process that was killed has left.
	unfinished, _ := filepath.Glob(filepath.Join(dir, "*", unfinishedSecret))
	for _, file := range unfinished {
		_ = os.Remove(file)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.json"))
	if err != nil {
		return nil, fmt.Errorf("certificates in %s: %w", dir, err)
	}
	for _, file := range files {
		name := desired.Name{Namespace: filepath.Base(filepath.Dir(file)), Name: strings.TrimSuffix(filepath.Base(file), ".json")}
		s, err := readSecretFile(file, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; correct it, or remove it to have the certificate ordered again", file, err)
		}
		d.keep(name, s)
	}
	return d, nil
}

// unfinishedSecret matches files that are being written.
const unfinishedSecret = ".new-*"

func readSecretFile(file string, name desired.Name) (acme.Secret, error) {
	f, err := os.Open(file)
	if err != nil {
		return acme.Secret{}, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return acme.Secret{}, err
	}
	var o corev1.Secret
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&o); err != nil || len(text) > maxSecretFile {
		return acme.Secret{}, errors.Join(errors.New("it is not a Secret in JSON"), err)
	}
	if o.Kind != "Secret" || o.Namespace != name.Namespace || o.Name != name.Name {
		return acme.Secret{}, fmt.Errorf("it has %s %s/%s, and not Secret %s", o.Kind, o.Namespace, o.Name, name)
	}
	return acme.Secret{Type: string(o.Type), Ours: o.Labels[acme.OwnerLabel] == acme.OwnerLabelValue, Data: o.Data, Version: digest(text)}, nil
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// keep notes what a file has. The lock is held, or nobody else knows of the secretDir yet.
func (d *secretDir) keep(name desired.Name, s acme.Secret) {
	d.made[name] = s
	d.held = d.held.Set(kube.DataName{Name: name}, &kube.Data{Type: s.Type, Keys: s.Data})
}

// Get implements acme.Store. A Secret of the folder is somebody else's.
func (d *secretDir) Get(_ context.Context, name desired.Name) (acme.Secret, bool, error) {
	if given := d.given(name); given != nil {
		return acme.Secret{Type: given.Type, Data: given.Keys, Version: "of the folder"}, true, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, found := d.made[name]
	return s, found, nil
}

// given returns a Secret of the folder; nil if there is none.
func (d *secretDir) given(name desired.Name) *kube.Data {
	all, _ := d.folder.Get()
	found, _ := all.Get(kube.DataName{Name: name})
	return found
}

// Put implements acme.Store.
func (d *secretDir) Put(_ context.Context, name desired.Name, s acme.Secret) error {
	if len(validation.IsDNS1123Label(name.Namespace)) > 0 || len(validation.IsDNS1123Subdomain(name.Name)) > 0 {
		return fmt.Errorf("Secret %s cannot be kept in a file: that is no name of a Secret", name)
	}
	if d.given(name) != nil {
		return fmt.Errorf("Secret %s is one of the folder of manifests, and is left as it is", name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.made[name].Version != s.Version {
		return acme.ErrConflict
	}
	text, err := json.MarshalIndent(&corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, Labels: map[string]string{acme.OwnerLabel: acme.OwnerLabelValue}},
		Type:       corev1.SecretType(s.Type), Data: s.Data,
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(d.dir, name.Namespace), name.Name+".json", text); err != nil {
		return fmt.Errorf("Secret %s cannot be kept: %w", name, err)
	}
	s.Ours, s.Version = true, digest(text)
	d.keep(name, s)
	d.poke()
	return nil
}

// replaceFile makes text what a file holds that only its owner may read. Whatever happens
// meanwhile, the file is as it was or as it is to be.
func replaceFile(dir, name string, text []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, unfinishedSecret) // with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync())
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if parent, err := os.Open(dir); err == nil { // else the name is there after the next sync
		_ = parent.Sync()
		_ = parent.Close()
	}
	return nil
}

func (d *secretDir) poke() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// secretData is a dataSource of a folder and of the Secrets that are made beside it.
type secretData struct{ *secretDir }

// Want implements dataSource.
func (d secretData) Want(names map[kube.DataName]bool) { d.folder.Want(names) }

// Get implements dataSource. What the folder has goes before what was made.
func (d secretData) Get() (dataMap, bool) {
	all, complete := d.folder.Get()
	d.mu.Lock()
	edit := d.held.Edit()
	d.mu.Unlock()
	for name, data := range all.All() {
		edit.Set(name, data)
	}
	return edit.Map(), complete
}

// Changed implements dataSource.
func (d secretData) Changed() <-chan struct{} { return d.changed }

// run tells of changes of the folder too.
func (d secretData) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.folder.Changed():
			d.poke()
		}
	}
}
