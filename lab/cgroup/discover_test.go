package cgroup

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, mountinfo string
		want            []Hierarchy
		err             error
	}{
		{
			name: "unified",
			mountinfo: `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot`,
			want: []Hierarchy{{Mount: "/sys/fs/cgroup", Unified: true}},
		},
		{
			name: "hybrid with joined and named hierarchies",
			mountinfo: `30 22 0:27 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 master:2 - cgroup cgroup rw,cpu,cpuacct
39 30 0:36 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
40 30 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
41 30 0:37 / /mnt/elsewhere rw,relatime - cgroup2 cgroup2 rw`,
			want: []Hierarchy{
				{Mount: "/sys/fs/cgroup/cpu,cpuacct", Options: "cpu,cpuacct"},
				{Mount: "/sys/fs/cgroup/systemd", Options: "none,name=systemd"},
				{Mount: "/sys/fs/cgroup/unified", Unified: true},
			},
		},
		{
			name:      "version 1 alone",
			mountinfo: `31 30 0:28 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu`,
			err:       ErrNoUnified,
		},
		{name: "nothing and nonsense", mountinfo: "x\n - \n1 2 3 4 5 - cgroup2", err: ErrNoUnified},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse(strings.NewReader(test.mountinfo))
			if !errors.Is(err, test.err) {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestControllers(t *testing.T) {
	for options, want := range map[string]int{"cpu,cpuacct": 2, "memory": 1, "none,name=systemd": 0} {
		if got := (Hierarchy{Options: options}).Controllers(); len(got) != want {
			t.Errorf("%s: %v", options, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse(strings.NewReader(text))
		if err == nil && !Unified(all).Unified {
			t.Error("no error and no unified hierarchy")
		}
	})
}
