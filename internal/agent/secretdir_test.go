package agent

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
)

// holding is a dataSource that has some Secrets, wanted or not.
func holding(all map[desired.Name]*kube.Data) *heldData {
	d := &heldData{changed: make(chan struct{}, 1), want: map[kube.DataName]bool{}}
	for name, data := range all {
		d.all = d.all.Set(kube.DataName{Name: name}, data)
		d.want[kube.DataName{Name: name}] = true
	}
	return d
}

func openDir(t *testing.T, dir string, folder dataSource) *secretDir {
	t.Helper()
	d, err := openSecretDir(dir, folder)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestSecretDir holds that what is put is there after a restart, for nobody else to read,
// and that neither another's Secret nor a file elsewhere is touched.
func TestSecretDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "acme")
	web, given := desired.Name{Namespace: "shop", Name: "web-tls.example"}, desired.Name{Namespace: "shop", Name: "given"}
	folder := holding(map[desired.Name]*kube.Data{given: {Type: acme.TypeTLS, Keys: map[string][]byte{"tls.crt": []byte("theirs")}}})
	d := openDir(t, dir, folder)
	if _, found, err := d.Get(t.Context(), web); found || err != nil {
		t.Error(found, err)
	}
	made := acme.Secret{Type: acme.TypeTLS, Ours: true, Data: map[string][]byte{"tls.key": {0, 255}}}
	for _, text := range []string{"one", "two"} {
		before, _, _ := d.Get(t.Context(), web)
		made.Version, made.Data = before.Version, map[string][]byte{"tls.key": []byte(text)}
		if err := d.Put(t.Context(), web, made); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Put(t.Context(), web, made); !errors.Is(err, acme.ErrConflict) {
		t.Errorf("over what is newer: %v", err)
	}
	if err := d.Put(t.Context(), given, acme.Secret{Type: acme.TypeTLS, Version: "of the folder"}); err == nil || !strings.Contains(err.Error(), "left as it is") {
		t.Errorf("over a Secret of the folder: %v", err)
	}
	for _, name := range []desired.Name{{Namespace: "..", Name: "x"}, {Namespace: "shop", Name: "../x"}, {Namespace: "a/b", Name: "x"}, {Namespace: "shop"}, {Name: "x"}, {Namespace: "shop", Name: "."}} {
		if err := d.Put(t.Context(), name, made); err == nil || errors.Is(err, acme.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "shop", ".new-1"), []byte("{"), 0o600); err != nil { // as if killed meanwhile
		t.Fatal(err)
	}
	again := openDir(t, dir, folder)
	s, found, err := again.Get(t.Context(), web)
	if err != nil || !found || !s.Ours || s.Type != acme.TypeTLS || string(s.Data["tls.key"]) != "two" {
		t.Errorf("after a restart: %+v, %t, %v", s, found, err)
	}
	if s, _, _ := again.Get(t.Context(), given); s.Ours || string(s.Data["tls.crt"]) != "theirs" {
		t.Errorf("%+v", s)
	}
	files := []string{}
	err = filepath.WalkDir(filepath.Dir(dir), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			info, _ := e.Info()
			files = append(files, strings.TrimPrefix(path, dir)+" "+info.Mode().String())
		}
		return err
	})
	if want := "/shop/web-tls.example.json -rw-------"; err != nil || len(files) != 1 || files[0] != want {
		t.Errorf("%q, error %v, want %q", files, err, want)
	}
	all, _ := secretData{again}.Get()
	for name, key := range map[desired.Name]string{web: "tls.key", given: "tls.crt"} {
		if data, _ := all.Get(kube.DataName{Name: name}); data == nil || len(data.Keys[key]) == 0 {
			t.Errorf("gateways do not have %s", name)
		}
	}
}

// TestSecretDirBroken holds that a file that is none of ours is named, and not overwritten.
func TestSecretDirBroken(t *testing.T) {
	for name, text := range map[string]string{
		"half": `{"kind": "Secret", "metadata": {"name`, "other": `{"kind": "Secret", "metadata": {"namespace": "shop", "name": "another"}}`,
		"kind": `{"kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "kind"}}`, "large": strings.Repeat(" ", maxSecretFile) + "{}",
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "shop", name+".json")
		if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openSecretDir(dir, holding(nil)); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFolderOrders holds that a process without a cluster knows after a restart which
// certificates it has, and orders none of them again.
func TestFolderOrders(t *testing.T) {
	var asked atomic.Int64
	authority := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(authority.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, name := t.TempDir(), desired.Name{Namespace: "demo", Name: "shop-tls"}
	for _, restarted := range []bool{false, true} {
		a := bare(t, Options{})
		ports := freePorts(t)
		a.options.Config.Gateway.HTTPPort, a.options.Config.Gateway.HTTPSPort, a.options.Config.Gateway.Lameduck = ports[0], ports[1], 0
		a.options.Config.ACME.AgreeToTerms, a.options.Config.ACME.Server, a.options.Config.ACME.CAFile = true, authority.URL+"/dir", ca
		made := openDir(t, dir, holding(nil))
		line, err := a.newGateway(secretData{made})
		if err != nil {
			t.Fatal(err)
		}
		asked.Store(0)
		end := runLine(t, a, line)
		line.offer(securedState())
		says := func(want string) {
			t.Helper()
			lines := ""
			for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
				if lines = strings.Join(line.notes(), "\n"); strings.Contains(lines, want) {
					return
				}
			}
			t.Errorf("%s, want %s", lines, want)
		}
		if !restarted {
			says("of 1 that are wanted, 0 are valid")
			for start := time.Now(); asked.Load() == 0 && time.Since(start) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
			}
			if asked.Load() == 0 {
				t.Error("the authority is not asked for a certificate")
			}
			got := certificateFor(t, "shop.example.com", authority.URL+"/dir")
			if err := made.Put(t.Context(), name, got); err != nil { // as an order would
				t.Fatal(err)
			}
		} else {
			says("of 1 that are wanted, 1 are valid")
			if all, _ := made.folder.Get(); all.Len() > 0 || asked.Load() > 0 {
				t.Errorf("the authority was asked %d times", asked.Load())
			}
		}
		end()
		if err := a.options.Kept.Close(); err != nil {
			t.Error(err)
		}
	}
}

// certificateFor is a Secret as an order makes it.
func certificateFor(t *testing.T, host, server string) acme.Secret {
	t.Helper()
	data := certificateData(t, host)
	data.Keys["acme.server"] = []byte(server)
	return acme.Secret{Type: acme.TypeTLS, Ours: true, Data: data.Keys}
}
