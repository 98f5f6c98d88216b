package shop

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func call(handler http.Handler, method, target, body string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(method, target, strings.NewReader(body)))
	return recorder
}

func TestSwitchesPerRequestAndForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSwitches(0, 0)
		wrapped := s.Wrap(newCatalogue())
		for _, test := range []struct {
			target string
			status int
			took   time.Duration
		}{
			{"/items", 200, 0},
			{"/items?fail=503", 503, 0},
			{"/items?slow=2s", 200, 2 * time.Second},
			{"/items?slow=2h", 400, 0},
			{"/items?fail=200", 400, 0},
		} {
			started := time.Now()
			if got := call(wrapped, "GET", test.target, ""); got.Code != test.status || time.Since(started) != test.took {
				t.Errorf("%s: %d after %s", test.target, got.Code, time.Since(started))
			}
		}
		call(s, "POST", "/switch?fail=500", "")
		if got := call(wrapped, "GET", "/items", ""); got.Code != 500 {
			t.Errorf("switched to fail, answers %d", got.Code)
		}
		if got := call(s, "POST", "/switch?fail=x", ""); got.Code != 400 {
			t.Errorf("nonsense: %d", got.Code)
		}
		call(s, "POST", "/switch?fail=0", "")
		if got := call(wrapped, "GET", "/items", ""); got.Code != 200 {
			t.Errorf("switched back, answers %d", got.Code)
		}
	})
}

func TestCart(t *testing.T) {
	cart := newCart()
	for _, step := range []struct {
		method, body string
		status       int
		holds        string
	}{
		{"GET", "", 200, "brass fairlead"},
		{"POST", `{"name":"lamp","cents":1}`, 200, "lamp"},
		{"POST", "nonsense", 400, ""},
		{"POST", `{"name":"` + strings.Repeat("x", longestBody) + `"}`, 400, ""},
		{"DELETE", "", 200, "[]"},
	} {
		if got := call(cart, step.method, "/cart", step.body); got.Code != step.status || !strings.Contains(got.Body.String(), step.holds) {
			t.Errorf("%s %.30s: %d %s", step.method, step.body, got.Code, got.Body)
		}
	}
}

func TestPayments(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	switches := NewSwitches(0, 0)
	server := grpc.NewServer(grpc.UnaryInterceptor(switches.Intercept))
	server.RegisterService(paymentsDesc(), payments{Config{Pod: "p", Node: "n"}})
	done := make(chan error)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	charge := func(cents int64) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		receipt := &wrapperspb.StringValue{}
		err := conn.Invoke(ctx, chargeMethod, wrapperspb.Int64(cents), receipt)
		return receipt.GetValue(), err
	}
	if got, err := charge(5); err != nil || got != "5 cents taken by p on n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := charge(0); status.Code(err) != codes.InvalidArgument {
		t.Errorf("nothing to charge: %v", err)
	}
	call(switches, "POST", "/switch?fail=503", "")
	if _, err := charge(5); status.Code(err) != codes.Unavailable {
		t.Errorf("switched to fail: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	server.Stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFrontShowsWhatIsMissing(t *testing.T) {
	front, err := newFront(Config{Pod: "front-1", Node: "worker-1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // every call behind the page fails at once
	recorder := httptest.NewRecorder()
	front.ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
	if body := recorder.Body.String(); recorder.Code != 200 || strings.Count(body, `class="error"`) != 2 || !strings.Contains(body, "front-1 on worker-1") {
		t.Errorf("%d %s", recorder.Code, body)
	}
}

func TestUnknownRole(t *testing.T) {
	if _, err := roleHandler(Config{Role: "x"}); err == nil || !strings.Contains(err.Error(), Payments) {
		t.Errorf("error is %v", err)
	}
}
