package htpasswd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// The hashes were made with openssl passwd and crypt(3), all of "secret".
const file = `# users
bcrypt:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a
apr:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0
md5:$1$saltsalt$9xy1btjgzLYfb7hivXtC//
sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
plain:{PLAIN}secret:a comment
sha256:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA
sha512:$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1
old:rqkgm0IXRZd2Y
slow:$2y$31$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a
rounds:$6$rounds=999999999$saltsalt$x
sha:{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=
nonsense
`

func verify(t *testing.T, v *Verifier, u *Users, name, password string) bool {
	t.Helper()
	ok, err := v.Verify(context.Background(), "shop", u, name, password)
	if err != nil {
		t.Error(err)
	}
	return ok
}

func TestKinds(t *testing.T) {
	u, wrong := Parse([]byte(file))
	if got := errors.Join(wrong...).Error(); len(wrong) != 5 || !strings.Contains(got, "line 11: more than") || !strings.Contains(got, "line 10: bcrypt of cost 31") ||
		!strings.Contains(got, "line 9: the hash is none of") || !strings.Contains(got, "line 12: there is an earlier") || !strings.Contains(got, "line 13 is not") {
		t.Errorf("%q", got)
	}
	v := NewVerifier(2, 10)
	for _, name := range []string{"bcrypt", "apr", "md5", "sha", "plain", "sha256", "sha512"} {
		for _, password := range []string{"secret", "Secret", "", "secret ", strings.Repeat("secret", 500)} {
			for range 2 {
				if verify(t, v, u, name, password) != (password == "secret") {
					t.Errorf("%s with %.20q: %t", name, password, password != "secret")
				}
			}
		}
	}
	for _, name := range []string{"old", "slow", "rounds", "nobody", ""} {
		if verify(t, v, u, name, "secret") {
			t.Errorf("%q is let in", name)
		}
	}
	if verify(t, v, nil, "a", "b") {
		t.Error("somebody is let in where there is nobody")
	}
}

func TestFromMap(t *testing.T) {
	u, wrong := FromMap(map[string][]byte{"a": []byte("{PLAIN}x\n"), "b": []byte("")})
	if len(wrong) != 1 || !strings.Contains(wrong[0].Error(), `user "b"`) || !verify(t, NewVerifier(1, 1), u, "a", "x") {
		t.Errorf("%v", wrong)
	}
}

// TestBusy holds that not more hashes are computed at a time than allowed, and that
// those who are known need not wait for that.
func TestBusy(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("x"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := Parse(fmt.Appendf(nil, "a:%s\n", hash))
	v := NewVerifier(1, 1)
	if !verify(t, v, u, "a", "x") {
		t.Fatal("a is not let in")
	}
	leave, ok := v.turns.enter(context.Background(), "shop") // somebody is computing
	if !ok {
		t.Fatal("there is no place")
	}
	defer leave()
	ended, end := context.WithCancel(context.Background())
	end()
	if _, err := v.Verify(ended, "shop", u, "a", "y"); !errors.Is(err, ErrBusy) {
		t.Errorf("%v, want %v", err, ErrBusy)
	}
	waiting, stop := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() { v.turns.enter(waiting, "shop") })
	for v.turns.waits("shop") == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := v.Verify(context.Background(), "shop", u, "a", "y"); !errors.Is(err, ErrBusy) {
		t.Errorf("with a full queue: %v, want %v", err, ErrBusy)
	}
	defer wait.Wait()
	defer stop()
	if !verify(t, v, u, "a", "x") {
		t.Error("who is known has to wait")
	}
	if verify(t, v, u, "nobody", "x") {
		t.Error("another user is let in with the password of the first")
	}
}

// TestRemembersNoMore holds that what is remembered is bounded, and ends with its hash.
func TestRemembersNoMore(t *testing.T) {
	v := NewVerifier(1, 1)
	few := v.digest("h", "few")
	v.remember("few", few)
	for i := range maxRemembered + 10 {
		v.remember("many", v.digest("h", fmt.Sprint(i)))
	}
	if _, has := v.right["few"][few]; !has || v.size != maxRemembered || len(v.right["many"]) != maxRemembered-1 {
		t.Errorf("%d are remembered, of who has few %t", v.size, has)
	}
	if v.digest("a", "x") == v.digest("b", "x") || v.digest("a", "x") == NewVerifier(1, 1).digest("a", "x") {
		t.Error("two hashes, or two keys, have one digest")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(file), "x")
	f.Add([]byte("a:$6$rounds=1000$s$x\nb:$5$\nc:$1$\nd:$apr1$"), "secret")
	f.Fuzz(func(t *testing.T, file []byte, password string) {
		u, _ := Parse(file)
		v := NewVerifier(1, 1)
		n := 0
		for name, hash := range u.hashes {
			if n++; n > 3 || isBcrypt(hash) || strings.Contains(hash, "rounds=") {
				continue // slow
			}
			if _, err := v.Verify(context.Background(), "shop", u, name, password); err != nil {
				t.Error(err)
			}
		}
	})
}
