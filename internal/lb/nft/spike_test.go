package nft

import (
	"os/exec"
	"runtime"
	"testing"

	"github.com/vishvananda/netns"
)

func TestSpike(t *testing.T) {
	for _, p := range []pick{{}, {count: 3}, {count: 2, node: true}, {count: 3, affinity: 10800}, {six: true, count: 3}, {six: true, count: 2, node: true, affinity: 60}, {six: true, count: 3, affinity: 10800, outside: true}} {
		t.Run(p.chain(), func(t *testing.T) {
			runtime.LockOSThread()
			if _, err := netns.New(); err != nil {
				t.Fatal(err)
			}
			s, err := openSocket()
			if err != nil {
				t.Fatal(err)
			}
			l := newLayout("fairlead")
			x := newTransaction(l)
			x.newTable("spike")
			for _, s := range l.sets() {
				x.newSet(s)
			}
			if p.count == 0 {
				x.addChains(true)
			} else {
				x.addPick(p)
			}
			if err = x.commit(s, 0); err != nil {
				t.Error(err, err.(refused))
			}
			out, err := exec.Command("nft", "list", "table", "inet", "fairlead").CombinedOutput()
			t.Log(string(out), err)
		})
	}
}
