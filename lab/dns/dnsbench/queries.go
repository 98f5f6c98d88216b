package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/miekg/dns"
)

// queries is how many are made of each kind; the load repeats them.
const queries = 60_000

// hosts is how many names there are outside of the cluster.
const hosts = 1000

func hostOf(i int) string { return fmt.Sprintf("host-%d.example.com.", i) }

// mix is a kind of load.
type mix struct {
	name string
	// missing is the share of names that do not exist, in percent.
	missing int
	query   func(r *rand.Rand) (name string, qtype uint16)
}

// mixes returns the three kinds: names of Services, what resolvers of pods make
// of that and of names elsewhere by the search list, and names elsewhere.
func mixes(services int) []mix {
	hit := func(r *rand.Rand) (string, uint16) {
		i := r.IntN(services)
		for headless(i) {
			i = r.IntN(services)
		}
		return fmt.Sprintf("%s.%s.svc.cluster.local.", serviceOf(i), namespaceOf(i)), dns.TypeA
	}
	outside := func(r *rand.Rand) (string, uint16) { return hostOf(r.IntN(hosts)), dns.TypeA }
	// The search list of a pod: what it appends to a name with less than five dots.
	search := func(r *rand.Rand) (string, uint16) {
		name, _ := outside(r)
		qtype := []uint16{dns.TypeA, dns.TypeAAAA}[r.IntN(2)]
		return name + []string{namespaceOf(r.IntN(namespaces)) + ".svc.", "svc.", ""}[r.IntN(3)] + "cluster.local.", qtype
	}
	return []mix{
		{"hits", 0, hit},
		{"misses", 60, func(r *rand.Rand) (string, uint16) {
			if r.IntN(100) < 60 {
				return search(r)
			}
			return hit(r)
		}},
		{"forward", 0, outside},
	}
}

// write packs queries into a file, each behind its length, and returns its path.
func (m mix) write(directory string) (string, error) {
	random := rand.New(rand.NewPCG(1, 2))
	var out bytes.Buffer
	for range queries {
		q := new(dns.Msg)
		q.Question = make([]dns.Question, 1)
		name, qtype := m.query(random)
		q.SetQuestion(name, qtype)
		packed, err := q.Pack()
		if err != nil {
			return "", err
		}
		out.Write(binary.BigEndian.AppendUint16(nil, uint16(len(packed))))
		out.Write(packed)
	}
	path := filepath.Join(directory, m.name+".queries")
	return path, os.WriteFile(path, out.Bytes(), 0o600)
}

// readQueries returns what write wrote.
func readQueries(path string) ([][]byte, error) {
	all, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list [][]byte
	for len(all) > 0 {
		n := int(binary.BigEndian.Uint16(all))
		list, all = append(list, all[2:2+n]), all[2+n:]
	}
	return list, nil
}
